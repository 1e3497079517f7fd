"""Phase diagrams: coverage over two settings, boundaries labelled, full networks at spot points."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib import patheffects
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from viewrace.report.boundaries import Boundary, draw_boundary
from viewrace.report.style import INK, look

__all__ = ["phase_figure", "phase_figures", "save_figures"]

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
    "race": Boundary("race ends", "white", INK, 2.0),
    "every": Boundary("all views", INK, "white", 1.0),
    "lazy": Boundary("near the init", "#ffb000", INK, 1.4, ":"),
}
MAP = "viridis"
WIDTH, ROW, HEAD, FOOT, SIDE, GAP, BAR, LEGEND = 7.2, 0.33, 0.26, 0.46, 0.46, 0.14, 0.7, 1.05
"""Inches: of a figure, which is to be printed at that width; of a row of cells; above, below, left and right of a plane; of the
colour bar at the right; of caption and legend below."""
LEAST = 5 * ROW
"""Inches that a plane is at least tall: few rows of cells are taller ones, and the names of boundaries clear of the numbers."""
NUMBERS = 6.2
"""Font size of the numbers in the cells, in points; the smallest there is."""
FONTS = {"font.size": 7.5, "axes.titlesize": 8.5, "legend.fontsize": 7, "xtick.labelsize": 6.5, "ytick.labelsize": 6.5}


def phase_figure(data: Sequence[xr.Dataset]) -> Figure:
    """Planes, two in a row. Colour is the excess (C - 1/M) / (1 - 1/M), numbers are coverages, rings are full networks."""
    rows = [data[first : first + 2] for first in range(0, len(data), 2)]
    cells = [max(ROW, LEAST / max(plane.sizes["y"] for plane in row)) for row in rows]
    heights = [HEAD + max(plane.sizes["y"] for plane in row) * tall + FOOT for row, tall in zip(rows, cells, strict=True)]
    marks: set[str] = set()
    with look(), matplotlib.rc_context(FONTS):  # type: ignore[arg-type]
        made = Figure(figsize=(WIDTH, sum(heights) + LEGEND))
        top, letters = sum(heights) + LEGEND, iter("abcdefgh"[: len(data)] if len(data) > 1 else " ")
        for row, tall, height in zip(rows, cells, heights, strict=True):
            width = (WIDTH - BAR - len(row) * (SIDE + GAP)) / sum(plane.sizes["x"] for plane in row)
            left = SIDE
            for plane in row:
                across, up = plane.sizes["x"] * width, plane.sizes["y"] * tall
                ax = _axes_at(made, left, top - HEAD - up, across, up)
                image = _panel(ax, plane, (width, tall), marks)
                ax.set_title(f"{next(letters)}  {plane.attrs['title']}".lstrip())
                left += across + GAP + SIDE
            top -= height
        _bar(made, image, LEGEND + FOOT, sum(heights) - HEAD - FOOT)
        caption = textwrap.fill(_caption(data), 128)
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (0, LEGEND / (sum(heights) + LEGEND))}
        made.legend(handles=_handles(marks), ncols=2, title=caption, title_fontsize=7, alignment="left", **place)
    return made


def _axes_at(made: Figure, left: float, bottom: float, width: float, height: float) -> Any:
    """Axes at a place in inches."""
    across, up = made.get_size_inches()
    return made.add_axes((left / across, bottom / up, width / across, height / up))


def phase_figures(data: Mapping[str, xr.Dataset]) -> dict[str, Figure]:
    """A figure for each plane as `phase-PLANE`, and `phase` of all where there are several."""
    made = {f"phase-{name}": phase_figure([plane]) for name, plane in data.items()}
    return made | ({"phase": phase_figure(list(data.values()))} if len(data) > 1 else {})


def save_figures(made: Mapping[str, Figure], folder: Path) -> None:
    """Write figures by name into a folder, as PDF and as PNG."""
    with look():
        for name, each in made.items():
            for kind in ("pdf", "png"):
                each.savefig(folder / f"{name}.{kind}", dpi=200, bbox_inches="tight")


def _bar(made: Figure, image: Any, bottom: float, height: float) -> None:
    bar = made.colorbar(image, cax=_axes_at(made, WIDTH - BAR + 0.06, bottom, 0.12, height), ticks=[0, RACE, 0.5, EVERY, 1])
    for level, name in ((RACE, "race"), (EVERY, "every")):
        bar.ax.axhline(level, color=BOUNDARIES[name].colour, linewidth=1.4)
    bar.ax.tick_params(length=2)
    bar.set_label("excess $(C - 1/M)\\,/\\,(1 - 1/M)$", labelpad=3)
    bar.outline.set_visible(False)


def _panel(ax: Any, data: xr.Dataset, cell: tuple[float, float], marks: set[str]) -> Any:
    """The cells of one plane with their boundaries and spots; the image. What is drawn besides is added to `marks`."""
    image = ax.imshow(data["excess"], origin="lower", aspect="auto", cmap=MAP, vmin=0, vmax=1, interpolation="nearest")
    spots = _spots(data)
    for row, column in np.ndindex(data["margin"].shape):
        _tell(ax, data, (row, column), spots.get((row, column)), image, cell[0])
    _flag(ax, data, marks)
    _boundaries(ax, data, cell, marks)
    _axes(ax, data)
    return image


def _tell(ax: Any, data: xr.Dataset, cell: tuple[int, int], spot: int | None, image: Any, width: float) -> None:
    """The number of a cell `width` inches wide; at a spot that of full networks above it, beside a ring of their colour."""
    (row, column), excess = cell, float(data["excess"].values[cell])
    edge = [patheffects.withStroke(linewidth=1.6, foreground=image.to_rgba(excess))]
    style = {"ha": "center", "va": "center", "fontsize": NUMBERS, "color": _ink(excess), "path_effects": edge}
    told = _number(*(float(data[name].values[cell]) for name in ("margin", "done")))
    ax.text(column, row if spot is None else row - 0.17, told, **style)
    if spot is None:
        return
    level = float(data["spot_excess"].values[spot])
    ring = {"marker": "o", "s": 13, "edgecolors": _ink(excess), "linewidths": 0.8, "zorder": 5}
    ax.scatter(column - 0.115 / width, row + 0.26, c=[level], cmap=MAP, vmin=0, vmax=1, **ring)
    told = _number(*(float(data[f"spot_{name}"].values[spot]) for name in ("margin", "done")))
    ax.text(column - 0.075 / width, row + 0.25, told, **style | {"ha": "left"})


def _flag(ax: Any, data: xr.Dataset, marks: set[str]) -> None:
    """Squares on full networks among projected ones, hatching where most networks ran out of evaluations."""
    excess, full = data["excess"].values, data["dynamics"].values == 0
    for row, column in np.argwhere(full if not full.all() else np.zeros_like(full)):
        ax.plot(column - 0.41, row - 0.39, marker="s", markersize=2.0, color=_ink(excess[row, column]))
    short = data["done"].values < 0.5
    for row, column in np.argwhere(short):
        style: dict[str, Any] = {"hatch": "////", "edgecolor": (_ink(excess[row, column]), 0.35), "linewidth": 0, "zorder": 1}
        ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, **style))
    found = {"spot": bool(_spots(data)), "full": full.any() and not full.all(), "unfinished": short.any()}
    marks |= {name for name, there in found.items() if there}


def _ink(excess: float) -> str:
    """What can be read on the colour of an excess."""
    return INK if excess > 0.6 else "white"


def _number(value: float, done: float) -> str:
    """Two digits behind the point and none before it; a star where not every network has met its rule."""
    return f"{value:.2f}".removeprefix("0") + ("*" if done < 1 else "")


def _boundaries(ax: Any, data: xr.Dataset, cell: tuple[float, float], marks: set[str]) -> None:
    excess = data["excess"].values
    lazy = (data["moved"].values < LAZY) & (excess < EVERY)
    regions = {"race": (excess <= RACE) & ~lazy, "every": excess >= EVERY, "lazy": lazy}
    known = data["done"].values >= 0.5
    marks |= {name for name, region in regions.items() if draw_boundary(ax, region, known, BOUNDARIES[name], cell)}


def _axes(ax: Any, data: xr.Dataset) -> None:
    for name, side in ((str(data.attrs["x"]), "x"), (str(data.attrs["y"]), "y")):
        ticks = data[side].values
        getattr(ax, f"set_{side}ticks")(range(len(ticks)), [f"{tick:g}" for tick in ticks])
        getattr(ax, f"set_{side}label")(AXES.get(name, name))
    ax.tick_params(length=2)
    ax.grid(visible=False)


def _spots(data: xr.Dataset) -> dict[tuple[int, int], int]:
    """The spots whose cell (row, column) is projected: what full networks do there is worth a number of its own."""
    columns, rows = (data[side].values.tolist() for side in ("x", "y"))
    found = {}
    for index in range(data.sizes["spot"]):
        x, y = (float(data[f"spot_{side}"].values[index]) for side in ("x", "y"))
        if x in columns and y in rows and data["dynamics"].values[rows.index(y), columns.index(x)]:
            found[rows.index(y), columns.index(x)] = index
    return found


def _handles(marks: set[str]) -> list[Any]:
    """What the lines and marks mean, for those that are there."""
    words = {
        "race": "bounds where there is a race: excess up to 0.1",
        "every": "bounds where every view is learned: excess from 0.9",
        "lazy": "beyond it, weights move less than the init is long",
    }
    handles: list[Any] = []
    for name in filter(marks.__contains__, words):
        line = BOUNDARIES[name]
        casing = [patheffects.Stroke(linewidth=line.width + 1.6, foreground=line.casing), patheffects.Normal()]
        style: dict[str, Any] = {"color": line.colour, "linestyle": line.style, "linewidth": line.width, "path_effects": casing}
        handles.append(Line2D([], [], label=words[name], **style))
    dot: dict[str, Any] = {"linestyle": "none", "color": INK}
    if "full" in marks:
        handles.append(Line2D([], [], marker="s", markersize=2.6, label="full networks in this cell", **dot))
    if "spot" in marks:
        ring: dict[str, Any] = {"markersize": 4.5, "markeredgecolor": INK, "markerfacecolor": "white"}
        handles.append(Line2D([], [], marker="o", label="full networks at a spot, beside projected ones", **ring, **dot))
    if "unfinished" in marks:
        handles.append(Patch(facecolor="white", edgecolor=INK, hatch="////", label="most networks ran out of evaluations"))
    return handles


def _caption(planes: Sequence[xr.Dataset]) -> str:
    half = np.concatenate([((data["high"] - data["low"]) / 2).values.ravel() for data in planes])
    first = planes[0].attrs
    words = [
        f"Coverage of one network by margin {first['fraction']:g}: mean of n = {first['networks']} networks a cell, root seed "
        f"{first['roots']}; 95% interval over networks ± {np.median(half):.2f} in the median, ± {half.max():.2f} at the widest."
    ]
    small = [data for data in planes if data["dynamics"].values.any()]
    if small:
        where = "" if len(small) == len(planes) else " in " + ", ".join(str(data.attrs["plane"]) for data in small)
        words.append(f"Projected dynamics{where}, exact without noise; else full networks.")
    else:
        words.append("Full networks in every cell: no smaller dynamics is valid here.")
    if any(bool((data[name] < 1).any()) for data in planes for name in ("done", "spot_done")):
        words.append(f"*: not every network had every example right within its {first['steps']:,} gradient evaluations.")
    return " ".join(words)
