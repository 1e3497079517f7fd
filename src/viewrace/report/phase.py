"""Phase diagrams: coverage over two settings, boundaries labelled, full networks at spot points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from viewrace.report.style import INK, figure, look

__all__ = ["phase_figure", "phase_figures", "save_figure"]

AXES = {
    "net.init": r"init scale $\sigma_0/\rho$",
    "net.q": "power q",
    "data.mu": r"fraction of single-view examples $\mu$",
    "data.noise": r"noise $\sigma$ of a coordinate",
    "data.p": "chance p that a view is present",
    "data.views": "views per class M",
    "data.cosine_within": r"cosine $\delta$ between views of a class",
}
BOUNDARIES = {0.1: "race ends", 0.9: "every view learned"}
MAP = "viridis"


def phase_figure(data: xr.Dataset) -> Figure:
    """One plane: colour is the excess (C - 1/M) / (1 - 1/M), numbers are coverages, circles are full networks."""
    with look():
        made, axes = figure(width=1.9 + 0.62 * data.sizes["x"], height=1.7 + 0.5 * data.sizes["y"])
        image = _plane(axes[0][0], data)
        bar = made.colorbar(image, ax=axes[0][0], pad=0.02)
        bar.set_label("excess over the law, $(C - 1/M)\\,/\\,(1 - 1/M)$")
        bar.outline.set_visible(False)
    return made


def phase_figures(data: Mapping[str, xr.Dataset]) -> dict[str, Figure]:
    """A figure for each plane, by plane id."""
    return {name: phase_figure(plane) for name, plane in data.items()}


def save_figure(made: Figure, path: Path) -> None:
    """Write the figure to `path`, in the format of its suffix (pdf, svg, png)."""
    with look():
        made.savefig(path, dpi=200, bbox_inches="tight")


def _plane(axes: Any, data: xr.Dataset) -> Any:
    excess = data["excess"].values
    image = axes.imshow(excess, origin="lower", aspect="auto", cmap=MAP, vmin=0, vmax=1, interpolation="nearest")
    for (row, column), value in np.ndenumerate(data["margin"].values):
        pale = np.clip(excess[row, column], 0, 1) > 0.6
        unfinished = "" if data["done"].values[row, column] >= 0.5 else "*"
        text = f"{value:.2f}{unfinished}"
        axes.text(column, row - 0.22, text, ha="center", va="center", fontsize=7, color=INK if pale else "white")
    _boundaries(axes, excess)
    _spots(axes, data)
    for name, side in ((str(data.attrs["x"]), "x"), (str(data.attrs["y"]), "y")):
        ticks = data[side].values
        getattr(axes, f"set_{side}ticks")(range(len(ticks)), [f"{tick:g}" for tick in ticks])
        getattr(axes, f"set_{side}label")(AXES.get(name, name))
    axes.grid(visible=False)
    axes.set_title(str(data.attrs["title"]))
    return image


def _boundaries(axes: Any, excess: Any) -> None:
    """Contours between cells, each with its name on it, where the plane has both sides."""
    for level, name in BOUNDARIES.items():
        if min(excess.shape) < 2 or not excess.min() < level < excess.max():
            continue
        lines = axes.contour(excess, levels=[level], colors=["white" if level < 0.5 else "#c0392b"], linewidths=1.6)
        axes.clabel(lines, fmt={level: name}, fontsize=7.5, inline_spacing=2)


def _spots(axes: Any, data: xr.Dataset) -> None:
    columns, rows = (data[side].values for side in ("x", "y"))
    for x, y, value in zip(data["spot_x"].values, data["spot_y"].values, data["spot_excess"].values, strict=True):
        column, row = np.abs(columns - x).argmin(), np.abs(rows - y).argmin()
        if np.isclose(columns[column], x) and np.isclose(rows[row], y):
            axes.scatter(
                column, row + 0.2, c=[value], cmap=MAP, vmin=0, vmax=1, s=48, edgecolors="white", linewidths=1.2, zorder=5
            )
