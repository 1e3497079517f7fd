"""The figures of the claims `random-features`, `gaussian-control` and `boosting`: what an ensemble gains, and what is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from viewrace.report.style import COLOURS, INK, VIEW_COLOURS, band, figure

__all__ = ["CONTROL_FIGURES"]

Line = tuple[Any, Any, Any]
WIDEST = 3.0
"""Shares beyond this, either way, are not drawn: the gain that they are shares of is next to nothing."""
LEVELS = {"single": ("o", COLOURS["baseline"]), "student": ("*", COLOURS["in_context"]), "ensemble": ("s", COLOURS["margin"])}
SOURCE_COLOURS = {"Gaussian": COLOURS["margin"], "mixture": COLOURS["in_context"]}


def _random_features(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """Left: accuracy of one model, of a student, of the ensemble. Right: share of the gain that the student keeps."""
    made, axes = figure(columns=2, width=5.0, height=3.4)
    kinds = [str(kind) for kind in data["kind"].values]
    _levels(axes[0][0], kinds, curves)
    _shares(axes[0][1], kinds, _line(curves, "share"))
    axes[0][1].set_yticklabels([])
    return made


def _boosting(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """Accuracy by number of members; error correlation of the members; share of the gain that one student keeps."""
    made, axes = figure(columns=3, width=4.3, height=3.4)
    growth, apart, share = axes[0]
    kinds = [str(kind) for kind in data["kind"].values]
    sizes = np.asarray(curves["members"])
    for kind, colour in zip(kinds, VIEW_COLOURS, strict=False):
        accuracy = np.asarray(curves[kind], dtype=float)
        known = np.isfinite(accuracy)
        growth.plot(sizes[known], accuracy[known], marker="o", markersize=3.8, color=colour, linewidth=1.5, label=kind)
    growth.set(xscale="log", xlabel="members N", ylabel="accuracy on test digits", title="Accuracy by members")
    shown = sizes[[any(np.isfinite(curves[kind][row]) for kind in kinds) for row in range(len(sizes))]]
    growth.set_xticks(shown, [f"{size:g}" for size in shown])
    growth.minorticks_off()
    growth.legend(loc="lower right")
    _bars(apart, kinds, _line(curves, "correlation"))
    apart.axvline(0, color=INK, linewidth=0.8)
    apart.set(xlabel="correlation of two members' errors", title="Do members err together?")
    _shares(share, kinds, _line(curves, "share"))
    share.set_yticklabels([])
    return made


def _gaussian_control(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """Left: gain of the ensemble against the number of examples, beside the control's. Right: gain by number of members."""
    made, axes = figure(columns=2, width=4.8, height=3.5)
    gain, growth = axes[0]
    sizes = np.asarray(curves["examples"])
    for source, colour in SOURCE_COLOURS.items():
        estimate, below, above = _line(curves, source)
        band(gain, sizes, (100 * estimate, 100 * below, 100 * above), colour, source)
        for row, size in enumerate(sizes):
            mean = 100 * data["gain_by_size"].sel(source=source, examples=size).mean("root")
            style = (":", "--", "-", "-.")[row % 4]
            growth.plot(data["members"], mean, linestyle=style, color=colour, linewidth=1.4, label=f"{source}, {int(size):,}")
    value, low, high = (100 * end for end in curves["control"][1:4])
    gain.errorbar(
        [sizes[-1]],
        [value],
        [[value - low], [high - value]],
        fmt="D",
        color=INK,
        capsize=3,
        markersize=5,
        label="multi-view control",
    )
    gain.axhline(1, color=INK, linestyle="--", linewidth=1.1, label="bound: 1 point")
    gain.set(xscale="log", xlabel="training examples", ylabel="ensemble minus single, points", title="Gain of an ensemble")
    gain.set_xticks(sizes, [f"{int(size):,}" for size in sizes])
    gain.minorticks_off()
    gain.set_ylim(bottom=min(0.0, gain.get_ylim()[0]))
    gain.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    growth.set_xticks(data["members"].values)
    growth.set(xlabel="members N", ylabel="gain, points", title="Gain by members")
    growth.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return made


def _line(curves: Mapping[str, Any], name: str) -> Line:
    value, low, high = (np.asarray(curves[f"{name}_{part}"]) for part in ("estimate", "low", "high"))
    return value, low, high


def _levels(axes: Any, kinds: list[str], curves: Mapping[str, Any]) -> None:
    rows = np.arange(len(kinds))
    axes.hlines(rows, curves["single"], curves["ensemble"], color="#bbbbbb", linewidth=2)
    for name, (marker, colour) in LEVELS.items():
        size = 10 if marker == "*" else 6
        axes.plot(curves[name], rows, marker=marker, markersize=size, linestyle="none", color=colour, label=name)
    axes.set_yticks(rows, kinds)
    axes.invert_yaxis()
    axes.set(xlabel="accuracy on test digits", title="One model, a student, an ensemble")
    axes.legend(loc="lower left")


def _shares(axes: Any, kinds: list[str], line: Line) -> None:
    _bars(axes, kinds, line)
    for at, style in ((0.0, "-"), (0.5, "--"), (1.0, ":")):
        axes.axvline(at, color=INK, linestyle=style, linewidth=0.8)
    axes.set_xlim(max(-WIDEST, min(0.0, *line[1]) - 0.1), min(WIDEST, max(1.0, *line[2]) + 0.1))
    axes.xaxis.set_major_locator(MultipleLocator(0.5))
    axes.set(xlabel="share of the gain that the student keeps", title="Can it be distilled?")


def _bars(axes: Any, kinds: list[str], line: Line) -> None:
    value, low, high = line
    rows = np.arange(len(kinds))
    axes.errorbar(value, rows, xerr=(value - low, high - value), fmt="o", color=COLOURS["margin"], capsize=3, markersize=5)
    axes.set_yticks(rows, kinds)
    axes.invert_yaxis()


CONTROL_FIGURES: dict[str, dict[str, Callable[[xr.Dataset, Mapping[str, Any]], Figure]]] = {
    "random-features": {
        "One model, the best student of its kind and the ensemble, means over root seeds. Right: share of the ensemble's gain "
        "that a student keeps, chosen on one half of the test digits and judged on the other; dashed: the bound, a half. 95% "
        "intervals over examples, members and students.": _random_features
    },
    "gaussian-control": {
        "Gaussian data with a random teacher's labels. Left: gain of the whole ensemble; the control is multi-view data mixed so "
        "that single networks are right as often as on one Gaussian there; 95% intervals over examples and members. Right: gain "
        "by number of members and of examples, means over root seeds.": _gaussian_control
    },
    "boosting": {
        "Left: accuracy by number of members, means over root seeds. Middle: correlation of the errors of two of the first ten "
        "members. Right: share of the gain that one student of a member's size keeps; dashed: a half. 95% intervals over "
        "examples, members and students.": _boosting
    },
}
"""By claim: captions and what draws them."""
