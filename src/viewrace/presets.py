"""Settings known to show the race, for any number of classes and views. Chosen on root seed 0 alone.

One preset serves all theorem claims. Its point is a wide polynomial part of the activation (rho): the whole race, and the
trained network too, stay on it, so a view that has lost gives act(z) ~ z^q, next to nothing, alone and in an ensemble.
With rho = 1 most of a trained network's logit comes from the linear part, where losers catch up (docs/finite-size.md).
The amplitude of a view varies from example to example: that spread is what a student sees the other views by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from viewrace.config import Settings, load, settings
from viewrace.errors import ViewraceError

__all__ = ["DIGITS_RELU", "NAMED", "REMEDIES", "UNEQUAL", "blocker_001", "named", "preset", "remedy", "resolve"]

EXAMPLES_PER_CLASS = 30
SPARE_DIMENSIONS = 2
DIGITS_RELU: dict[str, Any] = {"net.q": 1, "net.init": 0.005}
"""What turns the digits preset into its plain ReLU control (init is in units of rho)."""


def preset(views: int = 3, classes: int = 10, source: str = "features") -> Settings:
    """The preset for M = `views`, K = `classes`, on feature vectors or on digits; dimensions follow."""
    distractors = 2.0
    expected = round(distractors / classes * (classes - 1) * views)
    changes: dict[str, Any] = {
        "data.source": source,
        "data.classes": classes,
        "data.views": views,
        "data.examples": EXAMPLES_PER_CLASS * classes,
        "data.dim": classes * views + SPARE_DIMENSIONS,
        "data.patches": views + expected,
        "data.distractors": distractors,
        "self_distill.time": 2e6 if views <= 2 else 1e6,
    }
    if source == "digits":
        changes |= _digits(views, classes)
    return settings(changes)


def _digits(views: int, classes: int) -> dict[str, Any]:
    """Digits: more examples (a view is many pictures, not one vector), fewer distractors a patch, no feature noise."""
    distractors = 2.0 / views
    return {
        "data.dim": 64,
        "data.examples": 50 * classes,
        "data.patches": views + round(distractors / classes * (classes - 1) * views),
        "data.distractors": distractors,
        "data.feature_noise": 0.0,
    }


def resolve(overrides: Mapping[str, Any] | None = None, views: int = 3) -> Settings:
    """The preset whose dimensions follow `data.classes`, `data.views` and `data.source`, with `overrides` on top.

    `overrides` has dotted keys. Values that no preset fits are left for the settings themselves to refuse.
    """
    chosen = dict(overrides or {})
    many, classes = chosen.get("data.views", views), chosen.get("data.classes", 10)
    fits = type(many) is int and many >= 1 and type(classes) is int and classes >= 2
    digits = chosen.get("data.source") == "digits" and not (fits and classes > 10)
    source = "digits" if digits else "features"
    base = preset(many, classes, source) if fits else preset(source=source)
    return settings({"data.views": views} | chosen, base=base)


def blocker_001() -> Settings:
    """The experiment that showed no race: coverage 1.0 and dominance 0.34 where the theory says 1/3.

    K = 10, M = 3, each view in a slot of 50 coordinates of one flat vector and active with chance 0.5 (drawn again while none
    is, so 3 in 7 examples show a single view), noise 0.1, 10,000 examples; an MLP with 200 ReLU units from He's init, SGD at
    0.01 with momentum 0.9 in batches of 100, for 100 epochs whatever its loss (one evaluation more: that of the init).
    """
    examples, batch, epochs = 10_000, 100, 100
    data = {"layout": "flat", "slots": True, "classes": 10, "views": 3, "dim": 150, "p": 0.5, "amplitude": (1.0, 1.0)}
    data |= {"examples": examples, "distractors": 0.0, "feature_noise": 0.0, "noise": 0.1}
    net = {"family": "mlp", "hidden": (200,), "q": 1, "rho": 1.0, "init": 1.0}
    steps = epochs * examples // batch + 1
    train = {"method": "sgd", "rate": 0.01, "momentum": 0.9, "batch": batch, "steps": steps, "tolerance": None}
    return settings({"data": data, "net": net, "train": train})


REMEDIES: dict[str, dict[str, Any]] = {
    "one-space": {"data.slots": False, "data.dim": 50, "data.mu": 1.0},
    "narrow": {"net.hidden": (4,)},
    "low-rank": {"net.rank": 4},
    "top-k": {"net.top_k": 5},
    "boost": {"net.boost": 10.0},
    "linear-mse": {
        "net.family": "linear",
        "net.hidden": (50,),
        "net.init": 0.1,
        "train.loss": "mse",
        "train.method": "flow",
        "train.steps": 300,
        "data.examples": 1000,
    },
    "entropy": {"train.entropy": 0.5},
    "competition": {"train.competition": 0.1},
    "view-entropy": {"train.view_entropy": 0.1},
}
"""What was tried to bring a race to blocker-001, each as changes to it: views that compete in one space (every example shows
one); bottlenecks (hidden layer, first layer's rank, responses that pass); one view's input weights scaled up; squared error
and gradient flow in a deep linear network; penalties on the entropy of predictions, on pairs of views, on the entropy of
views."""

UNEQUAL: dict[str, Any] = {"data.views": 5, "data.dim": 250, "data.strengths": (1.0, 0.5, 0.25, 0.125, 0.0625)}
"""Views of unequal strength, as changes to blocker-001."""


def remedy(name: str) -> Settings:
    """blocker-001 with the remedy `name` of REMEDIES."""
    return blocker_001().replace(**REMEDIES[name])


NAMED: dict[str, Callable[[], Settings]] = {"blocker-001": blocker_001}
NAMED |= {f"remedy-{name}": partial(remedy, name) for name in REMEDIES}
"""Experiments of others, by the name under which `viewrace train` knows them."""


def named(name: str | Path) -> Settings:
    """The settings in the file `name`, or where there is no such file the preset of that name."""
    if str(name) in NAMED and not Path(name).exists():
        return NAMED[str(name)]()
    try:
        return load(name)
    except ViewraceError as error:
        if Path(name).exists():
            raise
        raise ViewraceError(f"{error}, or the name of a preset: {', '.join(NAMED)}") from None
