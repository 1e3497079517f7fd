"""What each ingredient of the race is worth: a figure and a table of the ladder from blocker-001 to 1/M and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from viewrace.report.style import COLOURS, INK, LAW
from viewrace.report.words import interval

__all__ = ["COLUMNS", "blocker_figure", "blocker_table", "table_rows"]

TITLES = {
    "ladder": "The ladder: each switch with those above it",
    "alone": "Each switch alone on blocker-001",
    "reverse": "The working preset, each switch taken back alone",
}
MARKS = {
    "isolated": ("o", "#6b8e23", "isolated", -0.2),
    "in_context": ("D", COLOURS["in_context"], "in context", 0.2),
    "margin": ("o", COLOURS["margin"], "margin 0.1", 0.0),
}
"""Marker, colour, label, and how far off its row a measure is drawn, so that equal values do not hide each other."""
COLUMNS = {
    "isolated": "isolated",
    "margin": "margin 0.1",
    "in_context": "in context",
    "dominance": "dominance",
    "effective_rank": "effective rank",
    "seed_diversity": "seed diversity",
    "untrained_margin": "untrained, margin 0.1",
}
"""Measures of the table, and how they are headed; each with its 95% interval."""


def blocker_figure(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """Coverage by three definitions, untrained networks' beside it; the law 1/M as a dashed line."""
    names = _names(data)
    left = ["ladder", "alone"] if "alone" in names else ["ladder"]
    heights = [len(names[series]) + 1.2 for series in left]
    made = Figure(figsize=(12.8, 0.36 * sum(heights) + 1.1), layout="constrained")
    axes = made.subplot_mosaic([[series, "reverse"] for series in left], height_ratios=heights)
    for series in (*left, "reverse"):
        _panel(axes[series], names[series], curves, series, 1 / int(data.attrs["views"]))
    for series in (left[-1], "reverse"):
        axes[series].set_xlabel("view coverage of one network")
    made.legend(*axes["ladder"].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return made


def _panel(ax: Any, names: list[str], curves: Mapping[str, Any], series: str, law: float) -> None:
    rows = np.arange(len(names))
    ax.axvline(law, color=INK, linestyle="--", linewidth=1.1, label="law 1/M", zorder=1)
    ax.plot(
        curves[f"{series}_untrained_margin_estimate"],
        rows,
        linestyle="none",
        marker="x",
        markersize=5,
        color=LAW,
        label="margin 0.1, untrained",
    )
    for name, (mark, colour, label, off) in MARKS.items():
        value, low, high = (np.asarray(curves[f"{series}_{name}_{part}"]) for part in ("estimate", "low", "high"))
        reach = np.maximum(np.stack([value - low, high - value]), 0)
        judged = name == "margin"
        ax.errorbar(
            value,
            rows + off,
            xerr=reach,
            linestyle="none",
            marker=mark,
            markersize=6.5 if judged else 4.5,
            markerfacecolor=colour if judged else "white",
            color=colour,
            elinewidth=1.3,
            label=label,
            zorder=3 if judged else 2,
        )
    for row, value, count in zip(rows, curves[f"{series}_margin_estimate"], curves[f"{series}_n"], strict=True):
        text = f"{value:.2f}  (n = {count:.0f})"
        ax.text(1.06, row, text, va="center", fontsize=8.5, color=COLOURS["margin"], clip_on=False)
    ax.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, 1.04), title=TITLES[series])
    ax.set_yticks(rows, names)
    ax.set_xticks(np.linspace(0, 1, 6))


def blocker_table(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """The same in numbers: every measure with its 95% interval."""
    rows = table_rows(data, curves)
    made = Figure(figsize=(13.6, 0.27 * (len(rows) + 1) + 0.2), layout="constrained")
    ax = made.subplots()
    ax.set_axis_off()
    widths = [0.05, 0.17] + [0.11] * len(COLUMNS) + [0.03]
    first = {index + 1 for index, row in enumerate(rows) if index == 0 or rows[index - 1][0] != row[0]}
    body = [[row[0] if index + 1 in first else "", *row[1:]] for index, row in enumerate(rows)]
    drawn = ax.table(
        body, colLabels=["series", "setting", *COLUMNS.values(), "n"], colWidths=widths, loc="center", cellLoc="left"
    )
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(8)
    for (row, _), cell in drawn.get_celld().items():
        cell.visible_edges = "B" if row == 0 else "T" if row in first else "open"
        cell.set_edgecolor("#999999")
        cell.set_height(1 / (len(rows) + 1))
    return made


def table_rows(data: xr.Dataset, curves: Mapping[str, Any]) -> list[list[str]]:
    """Series, setting, each measure of `COLUMNS` as "estimate [low, high]", n; one list a row."""
    return [
        [series, name, *(_cell(curves, f"{series}_{column}", row) for column in COLUMNS), f"{curves[f'{series}_n'][row]:.0f}"]
        for series, names in _names(data).items()
        for row, name in enumerate(names)
    ]


def _cell(curves: Mapping[str, Any], key: str, row: int) -> str:
    value, low, high = (curves[f"{key}_{part}"][row] for part in ("estimate", "low", "high"))
    return interval(value, low, high)


def _names(data: xr.Dataset) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for series, name in zip(data["series"].values.tolist(), data["name"].values.tolist(), strict=True):
        names.setdefault(series, []).append(name)
    return names
