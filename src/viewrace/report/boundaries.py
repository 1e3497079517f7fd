"""Boundaries on a grid of cells: drawn along the cells' edges, each with its name on its longest straight run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

__all__ = ["Boundary", "draw_boundary", "edges"]

FONT, LETTER = 6.2, 0.05
"""Size of a name in points, and about the width of a letter in inches."""

Segment = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Boundary:
    """How a boundary looks: a line and its casing. Two on one edge are told apart where the later one is thinner."""

    name: str
    colour: str
    casing: str
    width: float
    style: str = "-"


def edges(inside: NDArray[np.bool_], known: NDArray[np.bool_]) -> list[Segment]:
    """Edges between known cells (row, column) of which one is inside, as ((x, y), (x, y)) with cells of size 1 around
    whole numbers."""
    found: list[Segment] = []
    for row, column in np.argwhere(inside[:, 1:] != inside[:, :-1]):
        if known[row, column] and known[row, column + 1]:
            found.append(((column + 0.5, row - 0.5), (column + 0.5, row + 0.5)))
    for row, column in np.argwhere(inside[1:] != inside[:-1]):
        if known[row, column] and known[row + 1, column]:
            found.append(((column - 0.5, row + 0.5), (column + 0.5, row + 0.5)))
    return found


def draw_boundary(
    ax: Any, inside: NDArray[np.bool_], known: NDArray[np.bool_], look: Boundary, cell: tuple[float, float]
) -> bool:
    """Draw one boundary and its name; whether there was one. cell: width and height of a cell in inches."""
    segments = edges(inside, known)
    if not segments:
        return False
    for width, colour, style in ((look.width + 1.6, look.casing, "-"), (look.width, look.colour, look.style)):
        ends = "projecting" if style == "-" else "butt"
        ax.add_collection(LineCollection(segments, colors=colour, linewidths=width, linestyles=style, capstyle=ends, zorder=4))
    x, y, upright = _longest(segments, cell)
    half = 0.5 * LETTER * len(look.name) / cell[1 if upright else 0]
    if upright:
        y = _held(y, half, inside.shape[0])
    else:
        x = _held(x, half, inside.shape[1])
    box = {"facecolor": look.casing, "edgecolor": "none", "pad": 0.9}
    place = {"ha": "center", "va": "center", "rotation": 90 if upright else 0, "zorder": 6}
    ax.text(x, y, look.name, fontsize=FONT, color=look.colour, bbox=box, **place)
    return True


def _held(middle: float, half: float, cells: int) -> float:
    """The middle of a name, moved so that the name does not leave the cells where they are long enough for it."""
    return min(max(middle, half - 0.5), cells - 0.5 - half) if 2 * half < cells else middle


def _longest(segments: list[Segment], cell: tuple[float, float]) -> tuple[float, float, bool]:
    """Middle of the longest straight run in inches, and whether it is upright."""
    lines: dict[tuple[bool, float], list[float]] = {}
    for (x, y), (end, _) in segments:
        upright = x == end
        lines.setdefault((upright, x if upright else y), []).append(y if upright else x)
    runs = []
    for (upright, at), starts in lines.items():
        for first, last in _runs(sorted(starts)):
            middle = (first + last + 1) / 2
            length = (last - first + 1) * cell[1 if upright else 0]
            runs.append((length, at if upright else middle, middle if upright else at, upright))
    return max(runs)[1:]


def _runs(starts: list[float]) -> list[tuple[float, float]]:
    """First and last of each run of starts that follow one another by 1."""
    runs = [(starts[0], starts[0])]
    for start in starts[1:]:
        if start - runs[-1][1] < 1.5:
            runs[-1] = (runs[-1][0], start)
        else:
            runs.append((start, start))
    return runs
