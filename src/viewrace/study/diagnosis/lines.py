"""What a diagnosis says: one measured line at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from viewrace.measure import Estimate, bootstrap

__all__ = ["Line", "Rung", "commands", "estimate"]


@dataclass(frozen=True)
class Line:
    """One thing that was measured, and what it means for a race. `value` is None where the measure does not apply."""

    name: str
    value: Estimate | float | str | None
    says: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Rung:
    """One ingredient of the race that these settings lack, and what it is worth in coverage (margin 0.1).

    here: how it stands in these settings. change: the settings that mend it. alone: coverage with everything else mended and
    this one left as it is; mended: coverage with this one mended and everything else left as it is. effect: alone minus the
    coverage with everything mended. fits: fraction of those networks (left in) that fit their training data.
    """

    name: str
    here: str
    change: dict[str, Any] = field(default_factory=dict)
    alone: Estimate | None = None
    mended: Estimate | None = None
    effect: Estimate | None = None
    fits: float | None = None
    cause: bool | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"set": self.commands()}

    def commands(self) -> list[str]:
        """The change as the command line takes it."""
        return commands(self.change)


def commands(changes: Mapping[str, Any]) -> list[str]:
    """Changes of settings as the command line takes them, one option each."""
    return [f"--set {key}={_plain(value)}" for key, value in changes.items()]


def _plain(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"


def estimate(values: ArrayLike, generator: np.random.Generator, unit: str = "networks") -> Estimate | None:
    """Mean with its interval over the values that are finite; None where none is."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    flat = flat[np.isfinite(flat)]
    return bootstrap(flat, generator, unit=unit) if len(flat) else None
