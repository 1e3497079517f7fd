"""The engine's benchmark: useful FLOP/s beside the limit and the peers, and growth along every axis."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from viewrace.report.style import INK, LAW, band, figure, look

__all__ = ["AXIS_NAMES", "LIMIT", "OURS", "bench_figure", "growth", "median_ratio"]

AXIS_NAMES = {"seeds": "seeds", "neurons": "neurons K m", "dim": "dimensions d", "columns": "patches N P"}
OURS, LIMIT = "viewrace", "limit"
COLOURS = {OURS: "#0b6e99", LIMIT: LAW, "loop": "#d9730d", "vmap": "#6b8e23", "vmap compiled": "#9b59b6", "jax vmap": "#c0392b"}


def bench_figure(found: dict[str, Any]) -> Figure:
    """Rates along each axis above, seconds and memory of the engine below."""
    with look():
        made, axes = figure(columns=len(AXIS_NAMES), rows=2, width=3.4, height=2.9)
        for column, (axis, name) in enumerate(AXIS_NAMES.items()):
            _rates(axes[0][column], found, axis)
            _growth(axes[1][column], found, axis)
            axes[1][column].set_xlabel(name)
            for row in axes:
                _mark_sizes(row[column], found, axis)
        axes[0][0].set_ylabel("useful GFLOP/s")
        axes[1][0].set_ylabel("seconds, GiB")
        handles = {line.get_label(): line for row in axes for each in row for line in each.get_lines()}
        made.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    return made


def median_ratio(peer: Iterable[float], ours: Iterable[float]) -> tuple[float, float, float]:
    """Median, least and largest of peer / ours, turn by turn."""
    ratios = sorted(p / o for p, o in zip(peer, ours, strict=True))
    return statistics.median(ratios), ratios[0], ratios[-1]


def growth(found: dict[str, Any], axis: str) -> tuple[float, float]:
    """Exponents with which the engine's time and memory grow along an axis: straight lines on log axes."""
    return _slope(found, axis, _time), _slope(found, axis, _memory)


def _slope(found: dict[str, Any], axis: str, value: Callable[[dict[str, Any]], float | None]) -> float:
    kept = [(point[axis], at) for point in _along(found, axis) if (at := value(point))]
    if len(kept) < 2:
        return float("nan")
    x, y = np.log(np.array(kept, dtype=np.float64)).T
    return float(np.polyfit(x, y, 1)[0])


def _along(found: dict[str, Any], axis: str) -> list[dict[str, Any]]:
    return sorted((point for point in found["points"] if axis in point["axes"]), key=lambda point: point[axis])


def _time(point: dict[str, Any]) -> float | None:
    return statistics.median(point["seconds"][OURS]) if OURS in point["seconds"] else None


def _memory(point: dict[str, Any]) -> float | None:
    return point["memory"] / 2**30 if point["memory"] else None


def _rates(axes: Any, found: dict[str, Any], axis: str) -> None:
    for way, colour in COLOURS.items():
        points = [point for point in _along(found, axis) if way in point["seconds"]]
        if points:
            rates = [sorted(point["flops"] / second / 1e9 for second in point["seconds"][way]) for point in points]
            line = ([statistics.median(each) for each in rates], [each[0] for each in rates], [each[-1] for each in rates])
            band(axes, [point[axis] for point in points], line, colour, way)
    axes.axhline(statistics.median(found["square"]) / 1e9, color=INK, linewidth=0.9, linestyle=":", label="square product")
    axes.set(xscale="log", yscale="log")


def _mark_sizes(axes: Any, found: dict[str, Any], axis: str) -> None:
    """Ticks at the sizes that were measured, and nowhere else."""
    sizes = [point[axis] for point in _along(found, axis)]
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()


def _growth(axes: Any, found: dict[str, Any], axis: str) -> None:
    for value, style, label in ((_time, "-", "seconds of one gradient"), (_memory, "--", "GiB at the peak")):
        points = [(point[axis], at) for point in _along(found, axis) if (at := value(point))]
        if points:
            axes.plot(*zip(*points, strict=True), style, color=INK, marker="s", markersize=3.5, linewidth=1.1, label=label)
    axes.set(xscale="log", yscale="log")
    time, memory = growth(found, axis)
    if np.isnan(time):  # one size alone
        return
    axes.set_title(f"time$^{{{time:.2f}}}$ memory$^{{{memory:.2f}}}$", fontweight="normal", fontsize=9)
