"""Figures of the deep claims: the paper's five columns on each set, halves of the channels, views of composite images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viewrace.report.style import COLOURS, INK, LAW, VIEW_COLOURS, band, figure

__all__ = ["DEEP_FIGURES", "channel_views_figure", "composite_coverage_figure", "five_columns_figure"]

COLUMNS = {
    "single": ("one\nnetwork", COLOURS["baseline"]),
    "joint": ("trained\njointly", VIEW_COLOURS[3]),
    "ensemble": ("ensemble", COLOURS["margin"]),
    "distilled": ("distilled", COLOURS["in_context"]),
    "self_distilled": ("self-\ndistilled", COLOURS["union"]),
}
GROUPS = {
    "single": COLUMNS["single"],
    "ensemble": COLUMNS["ensemble"],
    "distilled": ("student", COLOURS["in_context"]),
    "hard": ("student,\nhard labels", INK),
}
"""What stands under a column, and its colour."""
TITLES = {
    "digits": "Digits",
    "cifar10": "CIFAR-10",
    "composite": "Composite",
    "power": "q = 4",
    "relu": "Plain ReLU",
}


def five_columns_figure(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """A panel a set: each experiment as a thin line over the columns, means with their intervals."""
    sets = data["set"].values.tolist()
    made, axes = figure(columns=len(sets), width=3.9, height=3.3)
    for ax, name in zip(axes[0], sets, strict=True):
        each = np.stack([_each(data[column].sel(set=name)) for column in COLUMNS])
        _columns(ax, each, _line(curves, name), COLUMNS)
        ax.set_title(f"{TITLES[name]}, n = {each.shape[1]} experiments")
    axes[0][0].set_ylabel("accuracy on test images")
    return made


def composite_coverage_figure(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """Coverage by view blanking of the four groups, and which view won in each class and network (first experiment)."""
    made, axes = figure(columns=3, width=3.9, height=3.3)
    for ax, name in zip(axes[0], data["activation"].values.tolist(), strict=False):
        each = np.stack([_each(data["margin"].sel(activation=name, group=group)) for group in GROUPS])
        _columns(ax, each, _line(curves, f"margin_{name}"), GROUPS)
        ax.set(ylim=(0, 1.04), title=f"{TITLES[name]}, n = {each.shape[1]} experiments")
    axes[0][0].set_ylabel("view coverage, margin 0.1")
    _winners(axes[0][2], data)
    return made


def channel_views_figure(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """Accuracy of linear heads by the share of the channels that they see, before and after training."""
    sets = data["set"].values.tolist()
    made, axes = figure(columns=len(sets), width=4.3, height=3.3)
    for ax, name in zip(axes[0], sets, strict=True):
        for kind, colour in (("trained", COLOURS["margin"]), ("untrained", COLOURS["baseline"])):
            band(ax, curves["fraction"], _line(curves, f"{name}_{kind}"), colour, kind)
        ax.set_xscale("log", base=2)
        ax.set_xticks(curves["fraction"], ["all", "1/2", "1/4", "1/8"])
        ax.invert_xaxis()
        count = data.sizes["root"] * data.sizes["experiment"]
        ax.set(xlabel="share of the channels that a head sees", title=f"{TITLES[name]}, n = {count} experiments")
        ax.legend(loc="lower left")
    axes[0][0].set_ylabel("accuracy of a linear head")
    return made


def _columns(ax: Any, each: NDArray[np.float64], line: tuple[Any, Any, Any], names: Mapping[str, tuple[str, str]]) -> None:
    """each: (column, experiment)."""
    place = np.arange(len(names))
    ax.plot(place, each, color=LAW, linewidth=0.6, alpha=0.5, marker=".", markersize=3.5)
    value, low, high = (np.asarray(part) for part in line)
    for at, (_, colour) in enumerate(names.values()):
        reach = [[value[at] - low[at]], [high[at] - value[at]]]
        ax.errorbar([at], [value[at]], reach, fmt="o", color=colour, markersize=6.5, capsize=4, linewidth=1.6, zorder=3)
    ax.axhline(value[0], color=INK, linestyle=":", linewidth=1.0)
    ax.set_xticks(place, [label for label, _ in names.values()])
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.yaxis.get_major_locator().set_params(nbins=6)
    ax.grid(visible=False, axis="x")


def _winners(ax: Any, data: xr.Dataset) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    won = data["winner"].sel(activation="power").isel(root=0, experiment=0).transpose("seed", "label").values
    views = max(int(won.max()) + 1, 2)
    colours = ["#ffffff", *VIEW_COLOURS[:views]]
    ax.imshow(won + 1, aspect="auto", cmap=ListedColormap(colours), vmin=0, vmax=views, interpolation="nearest")
    ax.set(xlabel="class", ylabel="network (seed)", title="Which view won, q = 4")
    ax.set_xticks(range(won.shape[1]))
    ax.grid(visible=False)
    patches = [Patch(color=colours[view + 1], label=f"view {view + 1}") for view in range(views)]
    ax.legend(handles=patches, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _each(values: xr.DataArray) -> NDArray[np.float64]:
    """(experiment,) mean over networks, over all roots."""
    own = [dim for dim in values.dims if dim not in ("root", "experiment")]
    return np.asarray(values.mean(own).values.ravel())


def _line(curves: Mapping[str, Any], name: str) -> tuple[Any, Any, Any]:
    return curves[f"{name}_estimate"], curves[f"{name}_low"], curves[f"{name}_high"]


_COLUMNS: dict[str, Callable[[xr.Dataset, Mapping[str, Any]], Figure]] = {
    "The five columns of the paper's table. Thin lines: experiments, each with images and inits of its own; points: their means "
    "with 95% intervals over experiments; dotted: one network.": five_columns_figure
}
DEEP_FIGURES: dict[str, dict[str, Callable[[xr.Dataset, Mapping[str, Any]], Figure]]] = {
    "deep-ensemble": _COLUMNS,
    "deep-distillation": _COLUMNS,
    "deep-self-distillation": _COLUMNS,
    "channel-views": {
        "Linear heads on a part of the channels, split at random; bands are 95% intervals over experiments.": channel_views_figure
    },
    "composite-coverage": {
        "Coverage with all views but one blank. Thin lines: experiments; points: their means with 95% intervals over "
        "experiments. Right: the strongest view of each class in each network, white where none (first "
        "experiment).": composite_coverage_figure
    },
}
