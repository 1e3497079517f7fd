"""The planes of the phase diagrams: which two settings are varied, over which values, around which base."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from viewrace.claims import Scale
from viewrace.config import Settings
from viewrace.errors import ViewraceError
from viewrace.presets import resolve

__all__ = ["PLANES", "Plane", "find_plane"]

CLEAN: dict[str, Any] = {"data.noise": 0.0, "data.feature_noise": 0.0}
"""Without noise a patch network lives in the span of the features, so the projected dynamics are exact."""


@dataclass(frozen=True)
class Plane:
    """Two settings varied together. clean: drawn without noise, where the projected dynamics are exact. base: what else
    differs from the preset. spots: points where full networks are trained beside it, without noise and with the preset's."""

    id: str
    title: str
    x: str
    y: str
    x_values: tuple[float, ...]
    y_values: tuple[float, ...]
    clean: bool = False
    base: Mapping[str, Any] = field(default_factory=dict)
    spots: tuple[tuple[float, float], ...] = ()

    def settings(self, asked: Mapping[str, Any], x: float, y: float, on_grid: bool = True) -> Settings:
        """The settings at a point; off the grid, with the preset's noise. Dimensions and patches follow the number of views."""
        point = {self.x: _plain(self.x, x), self.y: _plain(self.y, y)}
        chosen = (CLEAN if self.clean and on_grid else {}) | {**self.base, **asked} | point
        return resolve(chosen)

    def grid(self, scale: Scale) -> tuple[list[float], list[float]]:
        """The values along x and y; at smoke scale only the ends and the middle."""
        return _thin(self.x_values, scale), _thin(self.y_values, scale)


def _plain(name: str, value: float) -> float | int:
    return int(value) if name in ("net.q", "data.views") else float(value)


def _thin(values: tuple[float, ...], scale: Scale) -> list[float]:
    if scale is not Scale.SMOKE:
        return list(values)
    return [values[round(index)] for index in np.linspace(0, len(values) - 1, 3)]


PLANES: tuple[Plane, ...] = (
    Plane(
        "q-init",
        "Power and init",
        "net.init",
        "net.q",
        (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0),
        (1, 2, 3, 4, 5, 6),
        clean=True,
        spots=((0.03, 1), (0.03, 2), (0.03, 3), (0.03, 4), (0.2, 4), (1.0, 4), (0.1, 3), (0.1, 5)),
    ),
    Plane(
        "mu-noise",
        "Single-view examples and noise",
        "data.mu",
        "data.noise",
        (0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0),
        (0.0, 0.02, 0.05, 0.1, 0.2),
    ),
    Plane(
        "p-M",
        "Absent views and their number",
        "data.p",
        "data.views",
        (0.2, 0.35, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0),
        (2, 3, 4, 5, 6),
        clean=True,
        spots=((0.5, 3), (0.8, 3), (1.0, 2), (1.0, 3), (1.0, 5)),
    ),
    Plane(
        "delta-q",
        "Correlated views",
        "data.cosine_within",
        "net.q",
        (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9),
        (1, 2, 3, 4, 5),
    ),
)


def find_plane(name: str) -> Plane:
    """The plane of that id."""
    planes = {plane.id: plane for plane in PLANES}
    if name not in planes:
        near = difflib.get_close_matches(name, planes, n=1, cutoff=0.0)[0]
        raise ViewraceError(f"no plane is called {name}: did you mean {near}? There are {', '.join(planes)}")
    return planes[name]
