"""The figures of the claim `dynamics`: one network at two depths, coverage at three, and where mean-field races fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from viewrace.report.style import COLOURS, INK, VIEW_COLOURS, band, figure

__all__ = ["depths_figure", "failing_figure", "trajectory_figure"]

TITLES = {
    "net.init": r"init scale $\sigma_0/\rho$",
    "net.q": "power q",
    "data.views": "views per class M",
}
DEPTHS = {
    "full": ("full, noise included", INK),
    "projected": ("projected, without noise", COLOURS["in_context"]),
    "growth_coverage": ("mean-field", COLOURS["margin"]),
}
STARTS = {
    "growth": ("from the measured growth", COLOURS["margin"]),
    "raw": ("from the correlations alone", COLOURS["in_context"]),
}
DOTS = 40
BOUND, LEAST = 0.03, 0.97
"""What the claim allows: a gap in coverage, a share of winners."""
NOISE = "data.feature_noise"


def trajectory_figure(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """Two classes: the largest correlation with each view, full as lines, projected as circles. Right: how far apart."""
    made, axes = figure(columns=3, width=3.9, height=3.3)
    time, full, fast = (data[f"film_{name}"].values for name in ("time", "full", "projected"))
    dots = np.unique(np.linspace(0, len(time) - 1, DOTS).round().astype(int))
    for ax, label in zip(axes[0], (0, full.shape[1] - 1), strict=False):
        for view in range(full.shape[2]):
            colour = VIEW_COLOURS[view % len(VIEW_COLOURS)]
            ax.plot(time, full[:, label, view], color=colour, linewidth=1.6, label=f"view {view + 1}")
            style = {"linestyle": "none", "marker": "o", "markersize": 3.4, "markerfacecolor": "white"}
            ax.plot(time[dots], fast[dots, label, view], color=colour, **style)
        ax.set(xlabel="time on the gradient flow", title=f"One network, class {label}", yscale="log")
    title = "line: full, circle: projected"
    for ax in axes[0][:2]:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, title=title, title_fontsize=8.5)
    axes[0][0].set_ylabel(r"$\max_r \langle w_r, v\rangle / \rho$")
    _apart(axes[0][2], data, time, np.abs(full - fast).max(axis=(1, 2)) / full.max())
    return made


def _apart(ax: Any, data: xr.Dataset, time: Any, difference: Any) -> None:
    ax.plot(time, difference, color=COLOURS["margin"], linewidth=1.4, label="this network")
    worst = data["deviation"].values.ravel()
    ax.plot(
        np.full(len(worst), time[-1] * 1.06), worst, "o", color=COLOURS["in_context"], markersize=4, label="largest, each network"
    )
    ax.axhline(1e-4, color=INK, linestyle="--", linewidth=1.1, label="the bound")
    ax.set(yscale="log", xlabel="time on the gradient flow", title=f"How far apart, n = {len(worst)}", ylim=(1e-9, 1e-3))
    ax.set_ylabel("difference / largest correlation")
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=2)


def depths_figure(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """Coverage of single networks at each depth, one panel a setting; the last panel is agreement of winners."""
    names = [name for name in TITLES if name in curves]
    made, axes = figure(columns=len(names) + 1, width=3.3, height=3.3)
    for ax, axis in zip(axes[0], names, strict=False):
        for name, (label, colour) in DEPTHS.items():
            line = tuple(curves[f"{axis}_{name}_{part}"] for part in ("estimate", "low", "high"))
            band(ax, curves[f"{axis}_{name}"], (line[0], line[1], line[2]), colour, label)
        ax.set(
            xlabel=TITLES[axis],
            ylim=(0.15, None),
            title=f"n = {min(curves[f'{axis}_n']):.0f} to {max(curves[f'{axis}_n']):.0f} a point",
        )
        if axis == "net.init":
            ax.set_xscale("log")
        ax.set_xticks(curves[axis], [f"{value:g}" for value in curves[axis]])
        ax.minorticks_off()
    axes[0][0].set_ylabel("coverage of one network, margin 0.1")
    _winners(axes[0][-1], curves)
    made.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return made


def _winners(ax: Any, curves: Mapping[str, Any]) -> None:
    axis = NOISE
    for start, (label, colour) in STARTS.items():
        name = f"{axis}_{start}_winners"
        line = tuple(curves[f"{name}_{part}"] for part in ("estimate", "low", "high"))
        band(ax, curves[name], (line[0], line[1], line[2]), colour, label)
    ax.axhline(LEAST, color=INK, linestyle="--", linewidth=1.1)
    ax.set(xlabel=r"feature noise $\gamma$", title="Winners that mean-field tells", ylim=(None, 1.01))
    ax.set_ylabel("share of (network, class)")
    ax.legend(loc="lower left")


def failing_figure(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """Where mean-field races hold and where they fail: against networks without noise over the map of distractors and init, and
    against full ones with feature noise. Held against the bounds of the claim."""
    made, axes = figure(columns=3, width=4.3, height=3.9)
    shape = data.sizes["amplitude"], data.sizes["init"]
    titles = {"map_gap": "Coverage, mean-field less networks'", "map_winners": "Winners that mean-field tells"}
    for ax, (name, title) in zip(axes[0], titles.items(), strict=False):
        value, low, high = (np.asarray(curves[f"{name}_{part}"]).reshape(shape) for part in ("estimate", "low", "high"))
        gap = name == "map_gap"
        image = ax.imshow(value, origin="lower", aspect="auto", cmap="RdBu" if gap else "viridis", **_range(gap))
        for (row, column), middle in np.ndenumerate(value):
            reach = float(low[row, column]), float(high[row, column])
            text = f"{_word(gap, *reach)}\n{middle:{'+' if gap else ''}.2f}\n[{reach[0]:.2f}, {reach[1]:.2f}]"
            strong = abs(middle) > 0.17 if gap else middle < 0.85
            ax.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if strong else INK)
        ax.set_xticks(range(shape[1]), [f"{init:g}" for init in data["init"].values])
        ax.set_yticks(range(shape[0]), [f"{amplitude:g}" for amplitude in data["amplitude"].values])
        ax.set(xlabel=f"{TITLES['net.init']}; n = {data.sizes['cell']} a cell", title=title)
        ax.grid(visible=False)
        made.colorbar(image, ax=ax, pad=0.02).outline.set_visible(False)
    axes[0][0].set_ylabel("largest amplitude of a distracting view")
    _noise(axes[0][2], curves)
    return made


def _word(gap: bool, low: float, high: float) -> str:
    """Whether the whole interval is within the bound, or none of it."""
    if (low >= -BOUND and high <= BOUND) if gap else low >= LEAST:
        return "holds"
    return "fails" if ((low > BOUND or high < -BOUND) if gap else high < LEAST) else "unclear"


def _noise(ax: Any, curves: Mapping[str, Any]) -> None:
    axis = NOISE
    low, high = (np.asarray(curves[f"{axis}_gap_{part}"]) for part in ("low", "high"))
    line = (curves[f"{axis}_gap_estimate"], low, high)
    ax.axhspan(-BOUND, BOUND, color=INK, alpha=0.08, linewidth=0)
    ax.axhline(0, color=INK, linewidth=0.8)
    band(ax, curves[axis], line, COLOURS["margin"], "mean-field less full")
    ax.text(curves[axis][-1], 0.9 * BOUND, "holds ", va="top", ha="right", fontsize=8.5)
    ax.text(curves[axis][-1], -1.1 * BOUND, "fails ", va="top", ha="right", fontsize=8.5)
    ax.set_xticks(curves[axis], [f"{value:g}" for value in curves[axis]])
    sizes = f"{min(curves[f'{axis}_n']):.0f} to {max(curves[f'{axis}_n']):.0f}"
    ax.set(xlabel=rf"feature noise $\gamma$; n = {sizes} a point", title="Coverage, mean-field less full")


def _range(gap: bool) -> dict[str, float]:
    return {"vmin": -0.3, "vmax": 0.3} if gap else {"vmin": 0.6, "vmax": 1.0}
