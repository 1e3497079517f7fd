"""The figures of the claims `winner` and `exponent`: what tells the winner, how surely, and the price of a weaker view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from viewrace.report.style import COLOURS, INK, VIEW_COLOURS, figure

__all__ = ["exponent_figure", "winner_figure"]

RULES = {
    "growth": "initial growth, $S^{1/(q-2)}$",
    "azl": r"$\max_r a^+$, $S^{1/(q-2)}$ (AZL)",
    "neural-race": r"$\max_r a^+$, $S$ (neural race)",
    "powers": r"$\sum_r (a^+)^q$",
    "l2": r"$\sum_r (a^+)^2$",
    "sum": r"$\sum_r a^+$",
    "logistic": "logistic fit to all, other seeds",
}
MARKERS = "osD^vPX"


def winner_figure(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """Left: accuracy of every rule at every setting. Right: how often the growth rule is right, by lead."""
    made, axes = figure(columns=2, width=4.8, height=3.7)
    rules, lead = axes[0]
    settings = [str(name) for name in data["setting"].values]
    for row, (rule, label) in enumerate(RULES.items()):
        offset = np.arange(len(settings)) + (row - (len(RULES) - 1) / 2) * 0.11
        value, low, high = (np.asarray(curves[f"{rule}_{part}"]) for part in ("estimate", "low", "high"))
        colour = INK if rule == "logistic" else VIEW_COLOURS[row]
        rules.errorbar(
            offset, value, (value - low, high - value), fmt=MARKERS[row], markersize=4, color=colour, linewidth=1, label=label
        )
    rules.axhline(0.97, color="#999999", linestyle=":", linewidth=1)
    rules.set_xticks(range(len(settings)), [name.replace(", ", "\n") for name in settings])
    rules.set(ylabel="winners told before training", title="Which rule tells the winner")
    rules.set_ylim(max(0.0, min(min(curves[f"{rule}_low"]) for rule in RULES) - 0.03), 1.01)
    rules.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=7.5)
    _by_lead(lead, curves)
    return made


def _by_lead(axes: Any, curves: Mapping[str, Any]) -> None:
    x = np.asarray(curves["lead"])
    known = x < 3
    value, low, high = (np.asarray(curves[f"right_{part}"])[known] for part in ("estimate", "low", "high"))
    bars = np.maximum(0, (value - low, high - value))
    axes.errorbar(x[known], value, bars, fmt="o", markersize=4, color=COLOURS["margin"], linewidth=1, label="was right")
    axes.plot(
        x[known], np.asarray(curves["stated"])[known], color=COLOURS["in_context"], linewidth=1.6, label="probability stated"
    )
    axes.set(xscale="log", xlabel="lead, log advantage over the second view", title="How surely (q = 4, equal)")
    axes.set_ylim(min(0.5, float(low.min()) - 0.05), 1.02)
    axes.set_ylabel("growth rule right")
    axes.legend(loc="lower right")


def exponent_figure(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """Left: how often the stronger view wins, by its factor. Right: the fitted exponent beside 1/(q-2)."""
    made, axes = figure(columns=2, width=4.3, height=3.3)
    share, fitted = axes[0]
    factors = data["factor"].values
    for index, q in enumerate(data["q"].values):
        wins = [float((data["winner"].sel(q=q, factor=factor) == 0).mean()) for factor in factors]
        share.plot(factors, wins, marker="o", markersize=4, color=VIEW_COLOURS[index], label=f"q = {int(q)}")
    share.axhline(1 / data.sizes["view"], color=INK, linestyle="--", linewidth=1)
    share.set(xlabel="strength S of view 1 over the others, f", ylabel="classes that view 1 wins", ylim=(0, 1.04))
    share.set_title("A stronger view wins more often")
    share.legend(loc="lower right")
    grid = np.linspace(2.6, max(curves["q"]) + 0.4, 100)
    fitted.plot(grid, 1 / (grid - 2), color=INK, linestyle="--", linewidth=1.2, label="1/(q-2)")
    value, low, high = (np.asarray(curves[part]) for part in ("estimate", "low", "high"))
    fitted.errorbar(
        curves["q"], value, (value - low, high - value), fmt="o", markersize=5, color=COLOURS["margin"], label="fitted", capsize=3
    )
    fitted.set(xlabel="q", ylabel="exponent of f in the balancing lead", xticks=curves["q"], ylim=(0, None))
    fitted.set_title("The lead that balances it")
    fitted.legend(loc="upper right")
    return made
