"""The figure of the finite-size correction: one panel a setting."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from viewrace.report.style import COLOURS, INK, band, figure

__all__ = ["finite_size_figure"]

TITLES = {
    "net.rho": r"width of the polynomial part $\rho$",
    "net.init": r"init scale $\sigma_0/\rho$",
    "net.q": "power q",
    "data.distractors": "distractor rate s",
    "train.tolerance": "stopping loss",
    "data.classes": "classes K",
    "net.width": "neurons per class m",
}
LOGARITHMIC = ("net.rho", "net.init", "train.tolerance")


def finite_size_figure(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """A panel for each varied setting, the law as a dashed line; a second line is the same at rho = 1."""
    axes_names = [name for name in TITLES if name in curves]
    columns = 4
    made, grid = figure(columns=columns, rows=math.ceil(len(axes_names) / columns), width=2.9, height=2.5)
    law = 1 / int(data.attrs["views"])
    for ax, name in zip(grid.flat, axes_names, strict=False):
        for key, colour, label in ((name, "margin", "preset"), (f"{name}@rho=1", "warm", "rho = 1")):
            if key in curves:
                order = sorted(range(len(curves[key])), key=curves[key].__getitem__)
                x, *line = ([curves[key + part][i] for i in order] for part in ("", "_estimate", "_low", "_high"))
                band(ax, x, (line[0], line[1], line[2]), COLOURS[colour], label)
        ax.axhline(law, color=INK, linestyle="--", linewidth=1.1, label="law 1/M")
        ax.set(ylim=(0, 1.04), xlabel=TITLES[name])
        if name in LOGARITHMIC:
            ax.set_xscale("log")
            ax.set_xticks(curves[name], [f"{value:g}" for value in curves[name]])
            ax.minorticks_off()
    for ax in list(grid.flat)[len(axes_names) :]:
        ax.set_visible(False)
    both = next((i for i, name in enumerate(axes_names) if f"{name}@rho=1" in curves), 0)
    list(grid.flat)[both].legend(loc="upper right", fontsize=7.5)
    for row in grid:
        row[0].set_ylabel("coverage of one network")
    return made
