"""Phase diagrams: coverage over two settings, boundaries labelled, full networks at spot points."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import patheffects
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from viewrace.report.boundaries import Boundary, draw_boundary
from viewrace.report.style import INK, LAW, look

__all__ = ["draw_plane", "phase_figure", "phase_figures", "save_figure"]

AXES = {
    "net.init": r"init scale $\sigma_0/\rho$",
    "net.q": "power q",
    "data.mu": r"fraction of single-view examples $\mu$",
    "data.noise": r"noise $\sigma$ of a coordinate",
    "data.p": "chance p that a view is present",
    "data.views": "views per class M",
    "data.cosine_within": r"cosine $\delta$ between views of a class",
}
RACE, EVERY, LAZY = 0.1, 0.9, 1.0
"""Excess up to which there is a race, and from which every view is learned; distance from the init over its norm below which
training has not left the init, and a coverage near the law's is that of the init's luck."""
BOUNDARIES = {
    "race": Boundary("race ends", "white", INK, 2.6),
    "every": Boundary("every view learned", INK, "white", 1.2),
    "lazy": Boundary("near the init", "#ffb000", INK, 1.6, ":"),
}
MAP = "viridis"
CELL = (0.74, 0.58)
"""Width and height of a cell, in inches."""


def phase_figure(data: xr.Dataset) -> Figure:
    """One plane: colour is the excess (C - 1/M) / (1 - 1/M), numbers are coverages, rings are full networks."""
    with look():
        size = (2.4 + CELL[0] * data.sizes["x"], 2.5 + CELL[1] * data.sizes["y"])
        made = Figure(figsize=(max(size[0], 5.6), size[1]), layout="constrained")
        ax = made.subplots()
        image, handles = draw_plane(ax, data)
        bar = made.colorbar(image, ax=ax, pad=0.02, ticks=[0, RACE, 0.5, EVERY, 1])
        for level, name in ((RACE, "race"), (EVERY, "every")):
            bar.ax.axhline(level, color=BOUNDARIES[name].colour, linewidth=1.6)
        bar.set_label("excess $(C - 1/M)\\,/\\,(1 - 1/M)$")
        bar.outline.set_visible(False)
        wrapped = textwrap.fill(_caption(data), int(15.5 * max(size[0], 5.6)))
        made.legend(handles=handles, loc="outside lower center", ncols=2, title=wrapped, title_fontsize=7.5, alignment="left")
    return made


def phase_figures(data: Mapping[str, xr.Dataset]) -> dict[str, Figure]:
    """A figure for each plane, by plane id."""
    return {name: phase_figure(plane) for name, plane in data.items()}


def save_figure(made: Figure, path: Path) -> None:
    """Write the figure to `path`, in the format of its suffix (pdf, svg, png)."""
    with look():
        made.savefig(path, dpi=200, bbox_inches="tight")


def draw_plane(ax: Any, data: xr.Dataset) -> tuple[Any, list[Any]]:
    """The cells of one plane with their boundaries and spots; the image, and handles for a legend."""
    excess, done = data["excess"].values, data["done"].values
    image = ax.imshow(excess, origin="lower", aspect="auto", cmap=MAP, vmin=0, vmax=1, interpolation="nearest")
    mixed = len(np.unique(data["dynamics"].values)) > 1
    for (row, column), value in np.ndenumerate(data["margin"].values):
        colour = INK if excess[row, column] > 0.6 else "white"
        text = f"{value:.2f}" + ("*" if done[row, column] < 1 else "")
        ax.text(column, row - 0.2, text, ha="center", va="center", fontsize=7.5, color=colour)
        if mixed and not data["dynamics"].values[row, column]:
            ax.plot(column - 0.42, row - 0.4, marker="s", markersize=2.6, color=colour)
    unfinished = done < 0.5
    for row, column in np.argwhere(unfinished):
        ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, hatch="////", edgecolor="#ffffff55", linewidth=0))
    drawn = _boundaries(ax, data, ~unfinished)
    _axes(ax, data)
    return image, _handles(data, mixed, drawn, _spots(ax, data))


def _boundaries(ax: Any, data: xr.Dataset, known: Any) -> list[str]:
    excess = data["excess"].values
    lazy = (data["moved"].values < LAZY) & (excess < EVERY)
    regions = {"race": (excess <= RACE) & ~lazy, "every": excess >= EVERY, "lazy": lazy}
    return [name for name, region in regions.items() if draw_boundary(ax, region, known, BOUNDARIES[name], CELL)]


def _axes(ax: Any, data: xr.Dataset) -> None:
    for name, side in ((str(data.attrs["x"]), "x"), (str(data.attrs["y"]), "y")):
        ticks = data[side].values
        getattr(ax, f"set_{side}ticks")(range(len(ticks)), [f"{tick:g}" for tick in ticks])
        getattr(ax, f"set_{side}label")(AXES.get(name, name))
    ax.grid(visible=False)
    ax.set_title(str(data.attrs["title"]))


def _spots(ax: Any, data: xr.Dataset) -> bool:
    """Rings with their coverage at the spots that are on the grid; whether there were any."""
    columns, rows = (data[side].values.tolist() for side in ("x", "y"))
    found = False
    for index in range(data.sizes.get("spot", 0)):
        x, y, value, excess = (float(data[f"spot_{name}"].values[index]) for name in ("x", "y", "margin", "excess"))
        if x in columns and y in rows:
            column, row, found = columns.index(x), rows.index(y), True
            ring = {"marker": "o", "s": 38, "edgecolors": "white", "linewidths": 1.1, "zorder": 5}
            ax.scatter(column - 0.22, row + 0.22, c=[excess], cmap=MAP, vmin=0, vmax=1, **ring)
            colour = INK if data["excess"].values[row, column] > 0.6 else "white"
            text = f"{value:.2f}" + ("*" if data["spot_done"].values[index] < 1 else "")
            ax.text(column + 0.14, row + 0.22, text, ha="center", va="center", fontsize=6.5, color=colour)
    return found


def _handles(data: xr.Dataset, mixed: bool, drawn: list[str], spots: bool) -> list[Any]:
    """What the lines and marks mean, for those that are there."""
    words = {
        "race": "bounds where there is a race: excess up to 0.1",
        "every": "bounds where every view is learned: excess from 0.9",
        "lazy": "beyond it, weights move less than the init is long",
    }
    handles: list[Any] = []
    for name in drawn:
        line = BOUNDARIES[name]
        casing = [patheffects.Stroke(linewidth=line.width + 1.6, foreground=line.casing), patheffects.Normal()]
        style: dict[str, Any] = {"color": line.colour, "linestyle": line.style, "linewidth": line.width, "path_effects": casing}
        handles.append(Line2D([], [], label=words[name], **style))
    if mixed:
        handles.append(
            Line2D([], [], color=INK, marker="s", markersize=2.6, linestyle="none", label="full networks in this cell")
        )
    if spots:
        label = "spot: full networks, with the preset's noise"
        ring: dict[str, Any] = {"markersize": 6, "markeredgecolor": LAW, "markerfacecolor": "#31688e"}
        handles.append(Line2D([], [], marker="o", linestyle="none", label=label, **ring))
    if bool((data["done"] < 0.5).any()):
        handles.append(Patch(facecolor="white", edgecolor=INK, hatch="////", label="most networks ran out of steps"))
    return handles


def _caption(data: xr.Dataset) -> str:
    half = (data["high"] - data["low"]).values / 2
    roots = ", ".join(str(root) for root in np.atleast_1d(data.attrs["roots"]))
    words = [
        f"Coverage of one network by margin {data.attrs['fraction']:g}: mean of n = {data.attrs['networks']} networks a point, "
        f"root seed {roots}; 95% interval over networks ± {np.median(half):.2f} in the median, ± {half.max():.2f} at the widest."
    ]
    if not data.attrs["clean"]:
        words.append(
            "Full networks at every point: under noise or correlated views no smaller dynamics is valid, so there are no spots."
        )
    elif data["dynamics"].values.all():
        words.append("Projected dynamics, exact without noise.")
    else:
        words.append("Projected dynamics, exact without noise; full networks without noise where those do not apply.")
    if bool((data["done"] < 1).any()) or bool((data["spot_done"] < 1).any()):
        words.append(f"*: not every network had every example right within its {data.attrs['steps']:,} gradient evaluations.")
    return " ".join(words)
