"""The figure of the claim `external-signal`: what drives a view that has lost, and how that depends on its strength."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from viewrace.report.style import COLOURS, INK, LAW, figure

__all__ = ["external_signal_figure"]

LABELS, TEACHER = COLOURS["margin"], COLOURS["in_context"]
PANELS = (
    ("hard", "Hard labels", (("lost", "self"), ("won", "self"))),
    ("soft", "Soft labels: views that have lost", (("lost", "self"), ("lost", "external"))),
    ("soft", "Soft labels: views that have won", (("won", "self"), ("won", "external"))),
)
"""Labels, title and lines (group, part) of each panel of drives; the teacher's part under hard labels is 0 exactly."""
SMALLEST = 0.01
"""Drives are drawn on a logarithmic scale above this and on a linear one within it, as they may be negative."""


def external_signal_figure(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """The drive of views along training, split into the labels' and the teacher's part; and the exponent of the teacher's
    part in the strength, by power."""
    made, axes = figure(columns=2, rows=2, width=4.8, height=3.6)
    for ax, (taught, title, lines) in zip(axes.flat, PANELS, strict=False):
        _drives(ax, curves, taught, lines)
        ax.set(title=title, ylabel="drive, over that at the init")
    _exponents(axes[1][1], curves)
    return made


def _drives(ax: Any, curves: Mapping[str, Any], taught: str, lines: tuple[tuple[str, str], ...]) -> None:
    time = np.asarray(curves[f"{taught}_time"])
    for group, part in lines:
        value, low, high = (np.asarray(curves[f"{taught}_{group}_{part}_{name}"])[1:] for name in ("estimate", "low", "high"))
        colour, label = (TEACHER, "the teacher's part") if part == "external" else (LABELS, "the labels' part")
        style = "--" if taught == "hard" and group == "won" else "-"
        ax.fill_between(time[1:], low, high, color=colour, alpha=0.18, linewidth=0)
        label = f"views that have {group}" if taught == "hard" else label
        ax.plot(time[1:], value, color=colour, linewidth=1.6, linestyle=style, label=label)
    moment = curves[f"{taught}_taken"][0]
    ax.axvline(moment, color=LAW, linestyle=":", linewidth=1.3, label="class taken (median)")
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.set_xscale("log")
    ax.set_yscale("symlog", linthresh=SMALLEST, linscale=0.5)
    ax.set(ylim=(-0.15, 1.4), xlabel="time on the gradient flow")
    ax.set_yticks([-0.1, -0.01, 0, 0.01, 0.1, 1], ["−0.1", "−0.01", "0", "0.01", "0.1", "1"])
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18))


def _exponents(ax: Any, curves: Mapping[str, Any]) -> None:
    powers = np.asarray(curves["power"])
    value, low, high = (np.asarray(curves[f"exponent_{name}"]) for name in ("estimate", "low", "high"))
    ax.plot(powers, powers - 1, color=INK, linestyle="--", linewidth=1.2, label="by the gradient: $q - 1$")
    ax.axhline(0, color=TEACHER, linestyle="-.", linewidth=1.2, label="taken literally: 0")
    bars = np.maximum(0, (value - low, high - value))
    ax.errorbar(powers, value, bars, fmt="o", markersize=5, capsize=3, color=LABELS, label="fitted to the neurons")
    ax.set(xlabel="power q", ylabel="exponent of the teacher's part", xticks=powers, ylim=(-0.5, None))
    ax.set_title("The teacher's part in the strength")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18))
