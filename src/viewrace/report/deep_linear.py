"""The figure of deep linear networks: simulated modes on the closed form, and where a random init leaves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from viewrace.report.style import INK, VIEW_COLOURS, band, figure

__all__ = ["deep_linear_figure"]

TITLES = {"aligned": "One network, aligned start", "random": "One network, random init"}
DOTS = 26


def deep_linear_figure(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """Two films of strengths over time, closed form as lines and network as dots; deviation against init scale."""
    made, axes = figure(columns=3, width=3.7, height=3.3)
    for ax, name in zip(axes[0], ("aligned", "random"), strict=False):
        _film(ax, data, name)
    last = axes[0][2]
    for width, colour in zip(data["width"].values, VIEW_COLOURS, strict=False):
        line = curves[f"width_{width}_estimate"], curves[f"width_{width}_low"], curves[f"width_{width}_high"]
        band(last, curves["init"], line, colour, f"{width} hidden units")
    last.axhline(0.01, color=INK, linestyle="--", linewidth=1.1, label="1%")
    count = data.sizes["root"] * data.sizes["seed"]
    last.set(xscale="log", yscale="log", xlabel="init scale", ylabel="largest deviation / final strength")
    last.set_title(f"Random inits, n = {count} a point")
    last.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    axes[0][0].set_ylabel("strength / final strength")
    return made


def _film(ax: Any, data: xr.Dataset, name: str) -> None:
    time = data[f"{name}_time"].values
    dots = np.unique(np.linspace(0, len(time) - 1, DOTS).round().astype(int))
    for index, s in enumerate(data["mode"].values):
        colour = VIEW_COLOURS[index % len(VIEW_COLOURS)]
        simulated = data[f"{name}_simulated"].values[:, index]
        ax.plot(time, data[f"{name}_predicted"].values[:, index], color=colour, linewidth=1.6, label=f"s = {s:g}")
        ax.plot(time[dots], simulated[dots], color=colour, linestyle="none", marker="o", markersize=3.4, markerfacecolor="white")
    ax.set(xlabel="time on the gradient flow", title=TITLES[name], ylim=(-0.03, 1.06))
    ax.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, title="line: closed form, circle: network", title_fontsize=8.5
    )
