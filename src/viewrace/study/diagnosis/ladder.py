"""What each missing ingredient is worth: networks retrained with one left out, and with one alone mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from viewrace.claims import Lab
from viewrace.claims.lab import Networks
from viewrace.config import Settings
from viewrace.measure import Estimate, bootstrap_difference, margin
from viewrace.study.diagnosis.after import FIT, TOLERANCE
from viewrace.study.diagnosis.lines import Rung, estimate
from viewrace.study.diagnosis.recipe import TRAINING, Ingredient, mended, on_this_ground

__all__ = ["NETWORKS", "climb", "trainings"]

NETWORKS = 8
"""Networks retrained for every rung."""

Train = Callable[[Settings], Networks]


def trainings(ingredients: list[Ingredient], settings: Settings) -> int:
    """How many groups of networks `climb` trains."""
    single = len(ingredients) > 1
    return 1 + len(ingredients) * (1 + single) + (on_this_ground(settings) != settings)


def climb(
    lab: Lab, settings: Settings, ingredients: list[Ingredient], as_is: Networks, generator: np.random.Generator
) -> tuple[list[Rung], Estimate]:
    """Rungs in order of size, and the coverage with every ingredient supplied. `as_is`: the networks of the settings."""
    ground = on_this_ground(settings)

    def train(chosen: Settings) -> Networks:
        return lab.members(lab.bench(lab.roots[0], chosen), NETWORKS)

    whole = train(mended(ground, ingredients))
    rungs = [_rung(train, ground, ingredients, each, whole, generator) for each in ingredients]
    if ground != settings:
        rungs.append(_training(settings, ground, as_is, train(ground), generator))
    size = {rung.name: rung.effect.value if rung.effect is not None and rung.cause is not None else -1.0 for rung in rungs}
    full = estimate(margin(whole.views.probes), generator)
    assert full is not None
    return sorted(rungs, key=lambda rung: -size[rung.name]), full


def _rung(
    train: Train,
    ground: Settings,
    ingredients: list[Ingredient],
    each: Ingredient,
    whole: Networks,
    generator: np.random.Generator,
) -> Rung:
    left = train(mended(ground, ingredients, but=each))
    alone = margin(left.views.probes)
    effect = bootstrap_difference(alone, margin(whole.views.probes), generator)
    fits = float((left.trained.right >= FIT).double().mean())
    rung = Rung(each.name, each.here, each.mend, estimate(alone, generator), None, effect, fits, None)
    if fits > 0.5:
        rung = replace(rung, cause=_is_cause(effect))
    if len(ingredients) == 1:
        return replace(rung, mended=estimate(margin(whole.views.probes), generator))
    one = train(mended(ground, [each]))
    return replace(rung, mended=estimate(margin(one.views.probes), generator))


def _is_cause(effect: Estimate) -> bool:
    return effect.value >= TOLERANCE and effect.low > 0


def _training(settings: Settings, ground: Settings, as_is: Networks, plain: Networks, generator: np.random.Generator) -> Rung:
    """The training itself, and the number of examples: the settings as they are against the same on common ground."""
    there = ground.model_dump()
    keys = [*TRAINING, "data.examples"]
    here = settings.model_dump()
    change = {key: _at(there, key) for key in keys if _at(there, key) != _at(here, key)}
    effect = bootstrap_difference(margin(as_is.views.probes), margin(plain.views.probes), generator)
    train = settings.train
    told = f"{train.method}, {train.loss}, at most {train.steps} evaluations, {settings.data.examples} examples"
    found = estimate(margin(plain.views.probes), generator)
    return Rung("training", told, change, None, found, effect, None, _is_cause(effect))


def _at(tree: dict[str, dict[str, object]], key: str) -> object:
    group, name = key.split(".")
    return tree[group][name]
