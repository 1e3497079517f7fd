"""Why an experiment shows a race, or none: the regime before and after training, and the causes in order of size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

import viewrace
from viewrace.claims import Lab
from viewrace.claims.lab import Bench, Networks, Role
from viewrace.config import Settings
from viewrace.errors import ViewraceError
from viewrace.files import write_json, write_text
from viewrace.measure import Estimate
from viewrace.nets import Family, Params
from viewrace.streams import Stream, numpy_generator
from viewrace.study.diagnosis.after import after_training, regime, unfit
from viewrace.study.diagnosis.before import Before, before_training
from viewrace.study.diagnosis.ladder import climb, trainings
from viewrace.study.diagnosis.lines import Line, Rung, commands
from viewrace.study.diagnosis.recipe import Ingredient, everything, missing
from viewrace.study.diagnosis.words import cause_words, conclusion
from viewrace.study.folder import Folder
from viewrace.study.provenance import environment, now
from viewrace.train import device_of

__all__ = ["DIAGNOSIS", "Diagnosis", "diagnose"]

DIAGNOSIS = "diagnosis"
COUNT = 8


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    regime: race, blunted race, no race, little learned, did not train, one network, unclear; untrained without training.
    conclusion: the same in a sentence, with the number. before, after: measured lines. rungs: missing ingredients, the
    largest effect first. mended: coverage with all of them supplied (None where nothing was retrained). causes: names of the
    rungs that forbid a race each by itself. mend: settings that mend everything at once.
    """

    settings: Settings
    root: int
    regime: str
    conclusion: str
    coverage: Estimate | None
    before: tuple[Line, ...]
    after: tuple[Line, ...]
    rungs: tuple[Rung, ...]
    mended: Estimate | None
    mend: dict[str, Any]
    started: str
    ended: str = field(default_factory=now)

    @property
    def causes(self) -> list[str]:
        return [rung.name for rung in self.rungs if rung.cause]

    def to_json(self) -> dict[str, Any]:
        """Plain values only (docs/results.md)."""
        plain = {name: getattr(self, name) for name in ("regime", "conclusion", "root", "started", "ended")}
        lines = {part: [line.to_json() for line in getattr(self, part)] for part in ("before", "after", "rungs")}
        numbers = {part: None if (held := getattr(self, part)) is None else vars(held) for part in ("coverage", "mended")}
        views = {"views": self.settings.data.views, "causes": self.causes, "cause_words": cause_words(self.rungs)}
        views |= {"set": commands(self.mend)}
        tail = {"settings": self.settings.to_yaml(), "environment": environment()}
        return plain | views | numbers | lines | tail


def diagnose(
    settings: Settings,
    count: int = COUNT,
    seed: int = 1,
    train: bool = True,
    inits: Params | Sequence[torch.Generator] | None = None,
    out: str | Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> Diagnosis:
    """Say which regime the settings are in, and what forbids a race there.

    count: networks to train under the settings (8 more for every cause that is tried). train: False gives the part before
    training alone, in seconds. inits: the initial weights to judge in place of the house's own, as a dict of tensors with the
    seed axis first, or one generator a network. out: a folder for diagnosis.json and diagnosis.nc. Raises ViewraceError for
    fewer than two views or networks.
    """
    _refuse(settings, count, seed)
    device_of(settings.train)
    identity = {"viewrace": viewrace.__version__, "settings": settings.fingerprint(), "count": count, "roots": [seed]}
    folder = Folder(out, identity | {"train": train}) if out is not None else None
    told, total, started = [0.0], [float(count)], now()

    def tell(units: float) -> None:
        told[0] += units
        if progress is not None:
            progress(min(told[0] / total[0], 1.0))

    lab = Lab(settings, [seed], tell, folder.room if folder else None)
    bench, generator = lab.bench(seed), numpy_generator(seed, Stream.BOOTSTRAP)
    family, params = bench.family(), _params(bench, count, inits)
    before = before_training(settings, bench, family, params, generator)
    ingredients = missing(settings, before.single, before.start)
    if not train:
        rungs = tuple(Rung(each.name, each.here, each.mend) for each in ingredients)
        state = "one network" if before.twins else "untrained"
        words = conclusion(state, None, None, rungs, settings.data.views)
        found = Diagnosis(
            settings, seed, state, words, None, tuple(before.lines), (), rungs, None, everything(ingredients), started
        )
        return _kept(found, folder)
    total[0] += trainings(ingredients, settings) * count
    label = None if inits is None else "given"
    networks = lab.members(bench, count) if label is None else lab.train(bench, label, family, params, bench.hard_loss())
    return _kept(_judged(lab, networks, before, ingredients, generator, started), folder)


def _judged(
    lab: Lab,
    networks: Networks,
    before: Before,
    ingredients: list[Ingredient],
    generator: np.random.Generator,
    started: str,
) -> Diagnosis:
    settings, views = lab.settings, lab.settings.data.views
    lines, found = after_training(networks, views, generator)
    state = "one network" if before.twins else regime(found, views)
    if unfit(networks) > len(networks) / 2:
        state = "did not train"
    rungs: tuple[Rung, ...] = ()
    whole = None
    if state not in ("race", "one network"):
        climbed, whole = climb(lab, settings, ingredients, networks, generator)
        rungs = tuple(climbed)
    words = conclusion(state, found, whole, rungs, views)
    training = [rung.change for rung in rungs if rung.name == "training"]
    mend = {**(training[0] if training else {}), **everything(ingredients)} if rungs else {}
    told = tuple(before.lines), tuple(lines), rungs, whole, mend, started
    return Diagnosis(settings, lab.roots[0], state, words, found, *told)


def _refuse(settings: Settings, count: int, seed: int) -> None:
    if settings.data.views < 2:
        raise ViewraceError("data.views must be at least 2 for a race, received 1: set data.views=2 or more")
    if count < 2:
        raise ViewraceError(f"count must be at least 2 to see whether seeds differ, received {count}: give 2 networks or more")
    if seed < 0:
        raise ViewraceError(f"seed must be at least 0, received {seed}: give a root seed")


def _params(bench: Bench, count: int, inits: Params | Sequence[torch.Generator] | None) -> Params:
    family: Family = bench.family()
    if inits is None:
        return family.init(bench.generators(Role.MEMBER, 0, count))
    params = inits if isinstance(inits, dict) else family.init(inits)
    if len(next(iter(params.values()))) < 2:
        raise ViewraceError("inits must be of at least 2 networks to see whether seeds differ, received 1: give more")
    return params


def _kept(found: Diagnosis, folder: Folder | None) -> Diagnosis:
    if folder is not None:
        tree = found.to_json()
        write_text(folder.path / "settings.yaml", found.settings.to_yaml())
        write_json(folder.path / "diagnosis.json", tree)
        folder.write(DIAGNOSIS, _dataset(found), tree)
        folder.room.finish(keep_weights=False)
    return found


def _dataset(found: Diagnosis) -> xr.Dataset:
    """The rungs as labelled arrays: coverage with each one left in, with each one alone mended, and the effect."""
    names = [rung.name for rung in found.rungs]
    data: dict[str, Any] = {}
    for part in ("alone", "mended", "effect"):
        held = [getattr(rung, part) for rung in found.rungs]
        for key in ("value", "low", "high", "n"):
            data[f"{part}_{key}"] = ("rung", [np.nan if each is None else float(getattr(each, key)) for each in held])
    attributes = {"settings": found.settings.to_yaml(), "roots": [found.root], "conclusion": found.conclusion}
    return xr.Dataset(data, coords={"rung": np.array(names, dtype=object)}, attrs=attributes)
