"""What a race needs, ingredient by ingredient, and the settings that supply what is missing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from viewrace.config import Settings, Train

__all__ = ["TRAINING", "Ingredient", "everything", "mended", "missing", "on_this_ground"]

POWER, WIDE, SMALL_INIT, NEURONS = 4, 10.0, 0.03, 5
"""The ingredients' values in the preset: q, rho, init in units of rho, neurons per class."""

NARROW = 1.0
"""rho of an MLP once q is mended: about as wide as He's responses, or nothing grows at all."""

LARGE_INIT = 0.1
"""A start of the leading view beyond this fraction of rho is suspect (docs/finite-size.md: coverage leaves 1/M there)."""

SHORT = 0.25
"""A polynomial part whose end gives less than this fraction of the logit that fitting takes is suspect."""

MOST_EXAMPLES_PER_CLASS = 60
FEWER_STEPS = 2000
TRAINING = ("train.method", "train.loss", "train.tolerance", "train.momentum", "train.error", "train.time", "train.steps")


@dataclass(frozen=True)
class Ingredient:
    """One thing that a race needs and these settings lack. here: how it stands. mend: the settings that supply it;
    spoil: what puts it back where everything else is mended."""

    name: str
    here: str
    mend: dict[str, Any]
    spoil: dict[str, Any]


def on_this_ground(settings: Settings) -> Settings:
    """The same settings on the gradient flow to the preset's stopping rule, on at most 60 examples a class: what all
    retrained networks share, so that a difference between them is that of an ingredient."""
    plain, own = Train(), settings.train
    changes: dict[str, Any] = {}
    if own.method != "flow" or own.loss != "ce" or own.tolerance is None or own.time is not None:
        changes = {key: getattr(plain, key.removeprefix("train.")) for key in TRAINING} | {"train.steps": FEWER_STEPS}
    most = MOST_EXAMPLES_PER_CLASS * settings.data.classes
    return settings.replace(**changes, **{"data.examples": min(settings.data.examples, most)})


def missing(settings: Settings, single: float, start: float) -> list[Ingredient]:
    """The ingredients that these settings lack.

    single: fraction of the training examples that show one view. start: median over seeds, classes and views of
    z max_r <w, v> at init, in the units of <w, v>.
    """
    found = (
        _power(settings),
        _multi_view(settings, single),
        _patches(settings),
        _shared(settings),
        _small_init(settings, start),
        _wide(settings),
        _apart(settings),
    )
    return [ingredient for ingredient in found if ingredient is not None]


def mended(settings: Settings, ingredients: list[Ingredient], but: Ingredient | None = None) -> Settings:
    """The settings with all ingredients supplied, and one of them left as it was on request."""
    return settings.replace(**(everything(ingredients) | (but.spoil if but is not None else {})))


def everything(ingredients: list[Ingredient]) -> dict[str, Any]:
    """What mends all of them at once: where two ask for other values of one setting, the later one's."""
    changes: dict[str, Any] = {}
    for ingredient in ingredients:
        changes |= ingredient.mend
    return changes


def _back(settings: Settings, *keys: str) -> dict[str, Any]:
    tree = settings.model_dump()
    return {key: tree[key.split(".")[0]][key.split(".")[1]] for key in keys}


def _power(settings: Settings) -> Ingredient | None:
    q = settings.net.q
    if q >= POWER:
        return None
    here = {1: "q = 1, plain ReLU: all views grow alike", 2: "q = 2: leads keep their ratio", 3: "q = 3: a weak race"}[q]
    mend: dict[str, Any] = {"net.q": POWER}
    if settings.net.family == "mlp" and q == 1:
        mend["net.rho"] = NARROW
    return Ingredient("growth exponent", here, mend, {"net.q": q})


def _multi_view(settings: Settings, single: float) -> Ingredient | None:
    if single == 0:
        return None
    flat = settings.data.layout == "flat"
    mend: dict[str, Any] = {"data.mu": 0.0} if settings.data.mu else {}
    if min(settings.data.view_probability) < 1:
        mend["data.p"] = 1.0
    here = f"{single:.2f} of the examples show a single view"
    return Ingredient(
        "single-view examples",
        here,
        mend,
        {"data.mu": round(single, 4) if flat else settings.data.mu, "data.p": 1.0 if flat else settings.data.p},
    )


def _patches(settings: Settings) -> Ingredient | None:
    data = settings.data
    if data.layout == "patches":
        return None
    seats = data.views + round(data.distractors / data.classes * (data.classes - 1) * data.views)
    mend: dict[str, Any] = {"data.layout": "patches"}
    if data.patches < data.patches_per_feature * seats:
        mend["data.patches"] = data.patches_per_feature * seats
    here = "flat: a neuron sees the sum of an example's views"
    return Ingredient("views in patches", here, mend, {"data.layout": "flat"})


def _shared(settings: Settings) -> Ingredient | None:
    """An MLP has no neuron that meets every view: its weights differ from patch to patch, and its read-out is shared."""
    net, data = settings.net, settings.data
    if net.family == "patch":
        return None
    fan_in = data.dim * (1 if data.layout == "flat" else data.patches)
    rho = WIDE if net.q == 1 else net.rho
    init = float(f"{net.init * math.sqrt(2 / fan_in) / rho:.2g}")
    mend = {"net.family": "patch", "net.width": NEURONS, "net.init": init, "net.rho": rho}
    spoil = {"net.family": net.family, "net.init": net.init, "net.rho": NARROW if net.q == 1 else net.rho}
    here = f"{net.family}: other weights for every patch, one read-out for all classes"
    return Ingredient("neurons shared by patches", here, mend, spoil)


def _small_init(settings: Settings, start: float) -> Ingredient | None:
    rho = _rho(settings)
    if not start > LARGE_INIT * rho:
        return None
    here = f"the leading response starts at {start / rho:.2f} of rho = {rho:g}"
    spoil = {"net.init": settings.net.init if settings.net.family == "patch" else float(f"{start / rho:.2g}")}
    return Ingredient("small init", here, {"net.init": SMALL_INIT}, spoil)


def _wide(settings: Settings) -> Ingredient | None:
    rho, need = _rho(settings), _logit_needed(settings)
    if rho / max(settings.net.q, POWER) >= SHORT * need:
        return None
    here = f"the polynomial part ends at a logit of {rho / max(settings.net.q, POWER):.2g}, fitting takes about {need:.1f}"
    return Ingredient("wide polynomial part", here, {"net.rho": WIDE}, {"net.rho": settings.net.rho})


def _apart(settings: Settings) -> Ingredient | None:
    cosine = settings.data.cosine_within
    if abs(cosine) <= 0.1:
        return None
    here = f"cosine {cosine:g} between views of a class: one view's growth is the other's"
    return Ingredient("separate views", here, {"data.cosine_within": 0.0}, {"data.cosine_within": cosine})


def _rho(settings: Settings) -> float:
    """The width of the polynomial part; with q = 1 there is none, and the preset's is meant, once q is mended."""
    return settings.net.rho if settings.net.q > 1 else max(settings.net.rho, WIDE)


def _logit_needed(settings: Settings) -> float:
    """The logit of the right class, all others 0, at which the cross-entropy is the tolerance."""
    tolerance = settings.train.tolerance or Train().tolerance or 0.05
    return math.log((settings.data.classes - 1) / math.expm1(tolerance))
