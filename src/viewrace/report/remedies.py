"""What other remedies do to the views: figures and a table of the claim `remedies`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from viewrace.report.style import COLOURS, INK, LAW, band, figure

__all__ = ["remedies_figure", "remedies_inits_figure", "remedies_table", "table_rows"]

NAMES = {
    "none": "none: blocker-001",
    "one-space": "views in one space, one an example",
    "narrow": "hidden layer of 4",
    "low-rank": "first layer of rank 4",
    "top-k": "5 largest responses pass",
    "boost": "init of view 1 × 10",
    "linear-mse": "deep linear, squared error",
    "entropy": "entropy of predictions",
    "competition": "penalty on pairs of views",
    "view-entropy": "penalty on views' entropy",
}
REPORTED = ((0.34, 0.41, "#bbbbbb", "reported: 0.34–0.41"), (0.57, 0.61, "#e8b08a", "reported, forced competition: 0.57–0.61"))
"""Dominance that others reported of such experiments: from, to, colour, label."""
COLUMNS = {
    "margin": "margin 0.1",
    "in_context": "in context",
    "dominance": "dominance",
    "dominance_centred": "dominance, centred",
    "effective_rank": "effective rank",
}
CENTRED = "#9b59b6"
TAUGHT = (("untrained", "untrained", LAW), ("hard", "hard labels", COLOURS["margin"]), ("kd", "KD", COLOURS["in_context"]))


def remedies_figure(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """Coverage, dominance and effective rank by remedy; beside the penalties, what is left once they are lifted."""
    rows, made = _rows(data), Figure(figsize=(13.2, 6.0), layout="constrained")
    coverage, dominance, rank = made.subplots(1, 3, sharey=True)
    law = 1 / int(data.attrs["views"])
    for ax, name, colour, off, label in (
        (coverage, "margin", COLOURS["margin"], 0.0, "margin 0.1"),
        (coverage, "in_context", COLOURS["in_context"], 0.22, "in context"),
        (dominance, "dominance", COLOURS["margin"], 0.0, "by raw logits"),
        (dominance, "dominance_centred", CENTRED, 0.22, "by logits less their mean"),
        (rank, "effective_rank", COLOURS["margin"], 0.0, "by raw logits"),
    ):
        _points(ax, data, curves, rows, name, colour, off, label)
    for ax, title, label in (
        (coverage, "Coverage of one network", "coverage"),
        (dominance, "Dominance of the strongest view", "largest share of a view"),
    ):
        ax.axvline(law, color=INK, linestyle="--", linewidth=1.1, label="1/M")
        ax.set(xlim=(0, 1.04), title=title, xlabel=label)
    for low, high, colour, label in REPORTED:
        dominance.axvspan(low, high, color=colour, alpha=0.45, linewidth=0, label=label, zorder=0)
    rank.axvline(1 / law, color=INK, linestyle="--", linewidth=1.1, label="M: all views alike")
    rank.set(xlim=(0.9, 1 / law + 0.1), title="Effective rank of the views", xlabel="exp(entropy of the shares)")
    coverage.set_yticks(list(rows.values()), [_named(row) for row in rows])
    coverage.set_ylim(max(rows.values()) + 0.7, -0.5)
    for ax in (coverage, dominance, rank):
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1))
    return made


def _rows(data: xr.Dataset) -> dict[tuple[str, bool], int]:
    """Where each remedy is drawn, and the penalties once more where they are lifted."""
    order = []
    for name in data["remedy"].values.tolist():
        order.append((name, False))
        if name in data["held"].values.tolist():
            order.append((name, True))
    return {row: place for place, row in enumerate(order)}


def _named(row: tuple[str, bool]) -> str:
    name, lifted = row
    return "    trained on without it" if lifted else NAMES.get(name, name)


def _points(
    ax: Any,
    data: xr.Dataset,
    curves: Mapping[str, Any],
    rows: Mapping[tuple[str, bool], int],
    name: str,
    colour: str,
    off: float,
    label: str,
) -> None:
    """Estimates with their intervals; where a penalty is lifted every network by itself."""
    place = np.array([rows[remedy, False] for remedy in data["remedy"].values.tolist()]) + off
    value, low, high = (np.asarray(curves[f"{name}_{part}"]) for part in ("estimate", "low", "high"))
    bars = np.maximum(0, (value - low, high - value))
    ax.errorbar(value, place, xerr=bars, fmt="o", markersize=5, color=colour, elinewidth=1.3, label=label)
    if f"{name}_released" in data:
        for held in data["held"].values.tolist():
            each = data[f"{name}_released"].sel(held=held).values.ravel()
            ax.plot(each, np.full(len(each), rows[held, True] + off), "o", markersize=4, markerfacecolor="none", color=colour)


def remedies_inits_figure(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """Left: dominance before and after training from an init that is scaled up for one view. Right: shares of five views of
    unequal strength."""
    made, axes = figure(columns=2, width=5.2, height=3.7)
    boost, shares = axes[0]
    factors = np.asarray(curves["factor"])
    for name, colour, label in (
        ("boost_before", LAW, "dominance, untrained"),
        ("boost_after", COLOURS["margin"], "dominance, trained"),
        ("boost_weight_after", COLOURS["union"], "share of view 1 in the weights, trained"),
        ("boost_margin", COLOURS["in_context"], "coverage, margin 0.1, trained"),
    ):
        value, low, high = (np.asarray(curves[f"{name}_{part}"]) for part in ("estimate", "low", "high"))
        known = high - low < 1
        band(boost, factors, (value, np.where(known, low, value), np.where(known, high, value)), colour, label)
    boost.axhline(1 / int(data.attrs["views"]), color=INK, linestyle="--", linewidth=1.1, label="1/M")
    boost.set(xscale="log", ylim=(0, 1.04), xlabel="factor on the initial weights of view 1")
    boost.set(ylabel="share, or coverage", title="A lopsided init")
    boost.set_xticks(factors, [f"{factor:g}" for factor in factors])
    boost.minorticks_off()
    strengths = curves["strength"]
    for (kind, label, colour), mark in zip(TAUGHT, "sod", strict=True):
        value, low, high = (np.asarray(curves[f"shares_{kind}_{part}"]) for part in ("estimate", "low", "high"))
        bars = np.maximum(0, (value - low, high - value))
        place = np.arange(len(strengths)) + {"untrained": -0.1, "hard": 0.0, "kd": 0.1}[kind]
        shares.errorbar(place, value, bars, fmt=mark, markersize=5, capsize=2.5, color=colour, label=label)
    shares.axhline(1 / len(strengths), color=INK, linestyle="--", linewidth=1.1, label="1/5: all alike")
    shares.set(ylim=(0, None), xlabel="strength of the view", ylabel="share of the view", title="Five views of unequal strength")
    shares.set_xticks(range(len(strengths)), [f"{strength:g}" for strength in strengths])
    for ax in (boost, shares):
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    return made


def remedies_table(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """Every measure of every remedy with its 95% interval."""
    rows = table_rows(data, curves)
    made = Figure(figsize=(12.6, 0.27 * (len(rows) + 1) + 0.2), layout="constrained")
    ax = made.subplots()
    ax.set_axis_off()
    widths = [0.22, *[0.15] * len(COLUMNS), 0.03]
    drawn = ax.table(rows, colLabels=["remedy", *COLUMNS.values(), "n"], colWidths=widths, loc="center", cellLoc="left")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(8.5)
    for (row, _), cell in drawn.get_celld().items():
        cell.visible_edges = "B" if row == 0 else "open"
        cell.set_edgecolor("#999999")
        cell.set_height(1 / (len(rows) + 1))
    return made


def table_rows(data: xr.Dataset, curves: Mapping[str, Any]) -> list[list[str]]:
    """Remedy, each measure of `COLUMNS` as "estimate [low, high]", n; one list a row."""
    count = f"{data.sizes['root'] * data.sizes['seed']}"
    return [
        [NAMES.get(name, name), *(_cell(curves, column, row) for column in COLUMNS), count]
        for row, name in enumerate(data["remedy"].values.tolist())
    ]


def _cell(curves: Mapping[str, Any], key: str, row: int) -> str:
    value, low, high = (curves[f"{key}_{part}"][row] for part in ("estimate", "low", "high"))
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"
