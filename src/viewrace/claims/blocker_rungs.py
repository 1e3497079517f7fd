"""The settings between an experiment that shows no race and one that does, one switch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from viewrace.config import Settings
from viewrace.presets import blocker_001

__all__ = ["ALONE", "LADDER", "REVERSE", "Rung", "rungs"]

Changes = dict[str, Any]

SAME_SPREAD = round((2 / 150) ** 0.5, 4)
"""He's standard deviation for 150 inputs: the patch network starts with the weights' spread of the MLP it replaces."""
SINGLE_VIEW = 3 / 7
"""Fraction of examples that show one view where each of three is active with chance 0.5, empty draws drawn again."""

FLOW: Changes = {"train.method": "flow", "train.steps": 4000, "train.tolerance": 0.05}
SGD: Changes = {"train.method": "sgd", "train.momentum": 0.9, "train.batch": 100, "train.steps": 10_001}
PATCHES: Changes = {
    "data.layout": "patches",
    "data.patches": 3,
    "net.family": "patch",
    "net.width": 20,
    "net.init": SAME_SPREAD,
}

LADDER: dict[str, Changes] = {
    "blocker-001": {},
    "gradient flow to loss 0.05": FLOW,
    "300 examples": {"data.examples": 300},
    "all views in every example": {"data.p": 1.0},
    "patches, patch network": PATCHES,
    "q = 4": {"net.q": 4},
    "small init": {"net.init": 0.03},
    "wide polynomial part": {"net.rho": 10.0},
    "distractors": {"data.distractors": 2.0, "data.patches": 8},
}
"""Each switch with those before it. The flow comes first: a rung then has run its course, whatever its init and power, where a
fixed number of steps leaves a small init unmoved. 300 examples are those of the working preset, and quicker."""

ALONE: dict[str, Changes] = {
    name: LADDER[name]
    for name in ("gradient flow to loss 0.05", "all views in every example", "patches, patch network", "q = 4", "small init")
}
"""Each switch alone on blocker-001, which is otherwise as it was. (rho does nothing where q = 1.)"""

REVERSE: dict[str, Changes] = {
    "working preset": {},
    "43% single-view (p = 0.5)": {"data.p": 0.5},
    "43% single-view (mu)": {"data.mu": SINGLE_VIEW},
    "flat, patch network": {"data.layout": "flat"},
    "flat, MLP": {"data.layout": "flat", "net.family": "mlp", "net.hidden": (50,), "net.init": 1.2},
    "q = 3": {"net.q": 3},
    "q = 2": {"net.q": 2},
    "q = 1": {"net.q": 1},
    "init = rho": {"net.init": 1.0},
    "rho = 1": {"net.rho": 1.0},
    "SGD, rate 1": SGD | {"train.rate": 1.0},
    "SGD, rate 0.01": SGD | {"train.rate": 0.01},
}
"""Each switch taken back alone from the working preset. The MLP's init 1.2 gives its first layer the spread of the preset's."""


@dataclass(frozen=True)
class Rung:
    """One setting: in which series it stands, and its name there."""

    series: str
    name: str
    settings: Settings

    @property
    def heavy(self) -> bool:
        """Whether a network takes seconds: 10,000 examples, or 10,000 steps."""
        slow = self.settings.train.method == "sgd" and self.settings.train.rate < 1
        return slow or self.settings.data.examples > 1000


def rungs(working: Settings) -> list[Rung]:
    """Every setting of the claim, `working` being the one that the switches are taken back from."""
    found: list[Rung] = []
    so_far: Changes = {}
    for name, changes in LADDER.items():
        so_far |= changes
        found.append(Rung("ladder", name, blocker_001().replace(**so_far)))
    found += [Rung("alone", name, blocker_001().replace(**changes)) for name, changes in ALONE.items()]
    return found + [Rung("reverse", name, working.replace(**changes)) for name, changes in REVERSE.items()]
