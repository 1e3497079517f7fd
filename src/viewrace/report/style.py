"""One look for all figures."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

__all__ = ["COLOURS", "INK", "LAW", "VIEW_COLOURS", "band", "figure", "look", "svg"]

INK, LAW = "#222222", "#777777"
COLOURS = {
    "margin": "#0b6e99",
    "in_context": "#d9730d",
    "union": "#6b8e23",
    "baseline": "#999999",
    "teacher": "#222222",
    "cold": "#0b6e99",
    "warm": "#c2410c",
    "power": "#0b6e99",
    "relu": "#8a8a8a",
}
VIEW_COLOURS = ("#0b6e99", "#d9730d", "#6b8e23", "#9b59b6", "#c0392b", "#16a085", "#7f8c8d", "#f1c40f")
_STYLE: dict[str, Any] = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.edgecolor": "#555555",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "viewrace",
    "font.family": ["DejaVu Sans", "sans-serif"],
}


@contextmanager
def look() -> Iterator[None]:
    """Within this block figures have the house style; nothing global is left changed."""
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        yield


def figure(columns: int = 1, rows: int = 1, width: float = 4.3, height: float = 3.1) -> tuple[Figure, Any]:
    """A figure of `rows` x `columns` axes (always a 2-d array), without a display."""
    made = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return made, made.subplots(rows, columns, squeeze=False)


def band(axes: Any, x: Any, line: tuple[Any, Any, Any], colour: str, label: str) -> None:
    """A line with markers and its interval as a band; `line` is (estimate, low, high)."""
    y, low, high = line
    axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(x, y, color=colour, marker="o", markersize=3.8, linewidth=1.5, label=label)


def svg(made: Figure) -> str:
    """The figure as an <svg> element, the same bytes for the same data."""
    buffer = io.StringIO()
    made.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
