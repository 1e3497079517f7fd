"""The figure of the gated network: the reduction against the network, and what decides the race of its pathways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from viewrace.report.style import COLOURS, INK, LAW, VIEW_COLOURS, band, figure

__all__ = ["gated_figure"]

TITLES = {"aligned": "One network, aligned start", "unaligned": "One network, far off aligned"}
DOTS = 24
DRAW = 0.5


def gated_figure(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """Above: an aligned network on the reduced equations, the shared pathway's share and the error on pairs never trained by
    outputs an input. Below: an unaligned network, the deviation by how far off it starts, and the share by a private lead."""
    made, axes = figure(columns=3, rows=2, width=3.8, height=3.1)
    (film, share, untrained), (off, noise, lead) = axes
    for ax, name in ((film, "aligned"), (off, "unaligned")):
        _film(ax, data, name)
    handles, labels = film.get_legend_handles_labels()
    off.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2)
    count = data.sizes["root"] * data.sizes["seed"]
    _share(share, data, curves, count)
    band(untrained, curves["outputs"], _line(curves, "untrained"), COLOURS["margin"], "random init")
    untrained.axhline(1, color=INK, linestyle="--", linewidth=1.1, label="knowing nothing")
    untrained.set(
        ylabel="squared error / target", xticks=curves["outputs"], xlabel="outputs an input is trained with", ylim=(0, None)
    )
    untrained.set_title(f"Pairs never trained, n = {count} a point")
    _noise(noise, data, curves, count)
    band(lead, curves["lead"], _line(curves, "led"), COLOURS["margin"], "random init")
    lead.axhline(DRAW, color=INK, linestyle="--", linewidth=1.1, label="a draw")
    lead.set(
        xlabel="private weights start larger by", ylabel="share of the shared pathway", ylim=(0, 1.04), xticks=curves["lead"]
    )
    lead.set_title(f"A head start, n = {count} a point")
    for ax in (share, untrained, noise, lead):
        ax.legend(loc="best")
    return made


def _film(ax: Any, data: xr.Dataset, name: str) -> None:
    time = data["film_time"].values
    dots = np.unique(np.linspace(0, len(time) - 1, DOTS).round().astype(int))
    for way, colour in zip(data["way"].values, (COLOURS["margin"], COLOURS["in_context"]), strict=True):
        for mode, style in zip(data["mode"].values, ("-", "--"), strict=True):
            at = {"way": way, "mode": mode}
            ax.plot(
                time,
                data["film_reduced"].sel(at),
                color=colour,
                linestyle=style,
                linewidth=1.6,
                label=f"{way}, s = {mode:g}",
            )
            seen = data["film_simulated"].sel(at | {"film": name}).values[dots]
            ax.plot(time[dots], seen, color=colour, linestyle="none", marker="o", markersize=3.2, markerfacecolor="white")
    ax.set(ylabel="pathway strength / s", title=TITLES[name], ylim=(-0.06, 1.06))
    ax.set_xlabel("time (line: reduced, circle: network)")


def _share(ax: Any, data: xr.Dataset, curves: Mapping[str, Any], count: int) -> None:
    ax.plot(curves["outputs"], data["share_aligned"], color=LAW, linestyle="--", linewidth=1.3, label="reduced, equal starts")
    band(ax, curves["outputs"], _line(curves, "share"), COLOURS["margin"], "random init")
    value, low, high = (np.asarray(part) for part in _line(curves, "alone"))
    ax.errorbar(
        [0],
        value,
        (value - low, high - value),
        fmt="s",
        markersize=4.5,
        color=VIEW_COLOURS[1],
        capsize=3,
        label=f"one pair alone, n = {data['share_alone'].size}",
    )
    ax.axhline(DRAW, color=INK, linestyle=":", linewidth=1.1)
    ax.set_xticks([0, *curves["outputs"]], ["alone", *(f"{outputs:g}" for outputs in curves["outputs"])])
    ax.set(xlabel="outputs an input is trained with", ylabel="share of the shared pathway", ylim=(0, 1.04))
    ax.set_title(f"The race, n = {count} a point")


def _noise(ax: Any, data: xr.Dataset, curves: Mapping[str, Any], count: int) -> None:
    for start, colour in zip(data["start"].values, VIEW_COLOURS, strict=False):
        band(ax, curves["noise"], _line(curves, f"noise_{start:g}"), colour, f"start {start:g}")
    ax.axhline(0.02, color=INK, linestyle="--", linewidth=1.1, label="2%")
    ax.set(xscale="log", yscale="log", xlabel="off aligned, relative", ylabel="largest deviation / s")
    ax.set_title(f"Off the reduction, n = {count} a point")


def _line(curves: Mapping[str, Any], name: str) -> tuple[Any, Any, Any]:
    return curves[f"{name}_estimate"], curves[f"{name}_low"], curves[f"{name}_high"]
