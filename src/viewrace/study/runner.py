"""From settings to verdicts: run claims, keep what is complete, go on where a run was stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import xarray as xr

import viewrace
from viewrace.claims import CLAIMS, Claim, Lab, Scale, Verdict, find
from viewrace.config import Settings
from viewrace.errors import ViewraceError
from viewrace.files import write_text
from viewrace.presets import resolve
from viewrace.study.crew import Crew, crew, processes_for
from viewrace.study.folder import Folder
from viewrace.study.provenance import environment, now
from viewrace.study.room import Room
from viewrace.study.tally import Tally
from viewrace.train import device_of

__all__ = ["ROOTS", "Study", "Watcher", "agreed_views", "default_folder", "reproduce"]

ROOTS = {Scale.SMOKE: 1, Scale.QUICK: 3, Scale.FULL: 5}
"""How many root seeds a verdict rests on. The presets were chosen on root seed 0; 1 to 3 were seen while the protocols were
written. The default starts beyond both."""


class Watcher(Protocol):
    """Is told how a run goes."""

    def starts(self, claim: Claim) -> None: ...
    def moves(self, fraction: float) -> None: ...
    def ends(self, claim: Claim, verdict: Verdict, reused: bool) -> None: ...
    def notes(self, text: str) -> None: ...


class _Silent:
    def starts(self, claim: Claim) -> None: ...
    def moves(self, fraction: float) -> None: ...
    def ends(self, claim: Claim, verdict: Verdict, reused: bool) -> None: ...
    def notes(self, text: str) -> None: ...


@dataclass(frozen=True)
class Study:
    """Verdicts with the data they rest on. `path` is where they were written, None where they were not."""

    settings: Settings
    scale: Scale
    roots: tuple[int, ...]
    verdicts: tuple[Verdict, ...]
    data: dict[str, xr.Dataset] = field(repr=False)
    path: Path | None = None

    def __getitem__(self, claim: str) -> Verdict:
        for verdict in self.verdicts:
            if verdict.id == claim:
                return verdict
        raise KeyError(claim)


def default_folder(scale: Scale, settings: Settings, seed: int) -> Path:
    """results/SCALE-VIEWS-SOURCE-HASH: a folder of its own for every set of settings and seed."""
    mark = settings.fingerprint()[:6]
    return Path("results") / f"{scale}-M{settings.data.views}-{settings.data.source}-seed{seed}-{mark}"


def reproduce(
    claims: Iterable[str] | None = None,
    scale: str | Scale = Scale.QUICK,
    views: int | None = None,
    changes: dict[str, Any] | None = None,
    seed: int = 11,
    out: str | Path | None = None,
    keep_weights: bool = False,
    watcher: Watcher | None = None,
    processes: int | None = None,
) -> Study:
    """Run claims on the preset for `views` (default 3), with `changes` (dotted settings) on top, and judge them.

    claims: ids, or `all` for every claim that applies; default those that are run by default. seed: the first root seed; a
    verdict rests on 1, 3 or 5 in a row by scale. out: a folder to write to and to resume from; None writes nothing.
    processes: how many train, by default one a root seed (see `processes_for`); 1 for this one alone. Raises ViewraceError for
    bad input, before any compute.
    """
    watcher = watcher or _Silent()
    scale = _scale(scale)
    if seed < 0:
        raise ViewraceError(f"seed must be at least 0, received {seed}: give a root seed")
    settings = resolve(changes, agreed_views(views, changes))
    device_of(settings.train)
    chosen = _choose(claims, settings, watcher)
    roots = tuple(range(seed, seed + ROOTS[scale]))
    count = processes_for(settings, len(roots), processes)
    folder = Folder(out, _identity(settings, scale, roots)) if out is not None else None
    if scale is Scale.SMOKE:
        watcher.notes("scale smoke is for trying things out: too few networks to judge by, use quick or full for that")
    run = _Run(settings, roots, scale, folder, watcher)
    verdicts = run.all(chosen, count)
    if folder is not None:
        folder.room.finish(keep_weights)
        _write_verdicts(folder)
    return Study(settings, scale, roots, verdicts, run.data, folder.path if folder else None)


def agreed_views(views: int | None, changes: dict[str, Any] | None) -> int:
    """Views per class, asked for by `views` or by the setting data.views, default 3; both must agree."""
    asked = (changes or {}).get("data.views", views)
    if views is not None and asked != views:
        raise ViewraceError(f"views was given twice, received {views} and data.views = {asked}: give one of them")
    return 3 if views is None else views


def _identity(settings: Settings, scale: Scale, roots: tuple[int, ...]) -> dict[str, Any]:
    version = {"viewrace": viewrace.__version__}
    return version | {"settings": settings.fingerprint(), "scale": str(scale), "roots": list(roots)}


def _scale(name: str | Scale) -> Scale:
    try:
        return Scale(name)
    except ValueError:
        raise ViewraceError(f"scale must be one of smoke, quick, full, received {name}: choose one") from None


def _choose(claims: Iterable[str] | None, settings: Settings, watcher: Watcher) -> list[Claim]:
    names = None if claims is None else list(claims)
    if names is not None and names != ["all"]:
        chosen = [find(name) for name in names]
        for claim in chosen:
            if (reason := claim.applies(settings)) is not None:
                raise ViewraceError(f"claim {claim.id} says nothing about these settings: {reason}; leave it out")
        if not chosen:
            raise ViewraceError("no claim was named: give ids with commas between, or `all`, or leave --claims out")
        return [claim for claim in CLAIMS if claim in chosen]
    wanted = [claim for claim in CLAIMS if names == ["all"] or claim.by_default]
    left_out = [(claim, claim.applies(settings)) for claim in wanted]
    for claim, reason in left_out:
        if reason is not None:
            watcher.notes(f"claim {claim.id} is left out: {reason}")
    return [claim for claim, reason in left_out if reason is None]


class _Run:
    """Claims under some root seeds, one after the other; those that can be are trained by processes beside this one."""

    def __init__(self, settings: Settings, roots: tuple[int, ...], scale: Scale, folder: Folder | None, watcher: Watcher):
        self.scale, self.folder, self.watcher = scale, folder, watcher
        self.tally = Tally(1.0, watcher.moves)
        self.lab = Lab(settings, roots, self.tally, folder.room if folder else None)
        self.data: dict[str, xr.Dataset] = {}

    def all(self, claims: Sequence[Claim], processes: int) -> tuple[Verdict, ...]:
        """Run and judge the claims; what the folder holds whole is not run again."""
        states = {claim.id: self.folder.state(claim.id) if self.folder else "missing" for claim in claims}
        if processes == 1:
            return tuple(self._one(claim, states[claim.id], None) for claim in claims)
        ahead = [claim for claim in claims if states[claim.id] != "whole"]
        with ExitStack() as stack:
            room = self.folder.room if self.folder else Room(Path(stack.enter_context(TemporaryDirectory())))
            workers = stack.enter_context(crew(room, self.lab, ahead, self.scale, processes, self.tally))
            return tuple(self._one(claim, states[claim.id], workers if claim.by_root else None) for claim in claims)

    def _one(self, claim: Claim, state: str, workers: Crew | None) -> Verdict:
        self.watcher.starts(claim)
        self.tally.done, self.tally.whole = 0.0, claim.work(self.lab.settings, self.scale, len(self.lab.roots))
        held = self._held(claim, state)
        verdict, self.data[claim.id] = held or self._run(claim, workers)
        self.watcher.ends(claim, verdict, held is not None)
        return verdict

    def _held(self, claim: Claim, state: str) -> tuple[Verdict, xr.Dataset] | None:
        """What the folder holds of the claim, if it is whole."""
        if self.folder is None or state == "missing":
            return None
        if state == "damaged":
            file = self.folder.path / f"{claim.id}.nc"
            self.watcher.notes(f"{file} was changed since it was written (checksum): computing it anew")
            return None
        return Verdict.from_json(self.folder.note(claim.id)), self.folder.read(claim.id)

    def _run(self, claim: Claim, workers: Crew | None) -> tuple[Verdict, xr.Dataset]:
        started, clock = now(), time.perf_counter()
        data, seconds = workers.wait(claim) if workers else (claim.run(self.lab, self.scale), 0.0)
        verdict = claim.judge(data)
        verdict = replace(verdict, seconds=max(seconds, time.perf_counter() - clock))
        data = data.assign_attrs(_attributes(claim, self.lab, self.scale, started, verdict))
        if self.folder is not None:
            self.folder.write(claim.id, data, verdict.to_json())
            _write_verdicts(self.folder)
        return verdict, data


def _attributes(claim: Claim, lab: Lab, scale: Scale, started: str, verdict: Verdict) -> dict[str, Any]:
    return {
        "claim": claim.id,
        "title": claim.title,
        "statement": claim.statement,
        "source": claim.source,
        "protocol": claim.protocol,
        "scale": str(scale),
        "roots": list(lab.roots),
        "settings": lab.settings.to_yaml(),
        "verdict": json.dumps(verdict.to_json()),
        "started": started,
        "ended": now(),
    } | {f"env_{name}": value for name, value in environment().items()}


def _write_verdicts(folder: Folder) -> None:
    found = [folder.note(claim.id) for claim in CLAIMS if claim.id in folder.manifest["entries"]]
    write_text(folder.path / "verdicts.json", json.dumps(found, indent=1))
