"""The figures of each claim, from its Dataset and its verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from viewrace.report.audit_cases import audit_cases_table
from viewrace.report.blocker import blocker_figure, blocker_table
from viewrace.report.controls import CONTROL_FIGURES
from viewrace.report.deep import DEEP_FIGURES
from viewrace.report.deep_linear import deep_linear_figure
from viewrace.report.dynamics import depths_figure, failing_figure, trajectory_figure
from viewrace.report.external_signal import external_signal_figure
from viewrace.report.finite_size import finite_size_figure
from viewrace.report.gated import gated_figure
from viewrace.report.remedies import remedies_figure, remedies_inits_figure, remedies_table
from viewrace.report.style import COLOURS, INK, LAW, VIEW_COLOURS, band, figure, look
from viewrace.report.winner import exponent_figure, winner_figure

__all__ = ["figures_of"]

Curves = Mapping[str, Any]
LABELS = {"margin": "coverage, margin 0.1", "in_context": "single-view accuracy"}


def figures_of(data: xr.Dataset, verdict: Mapping[str, Any]) -> dict[str, Figure]:
    """Captions and figures of one claim; none for a claim that has no figure."""
    with look():
        return {caption: draw(data, verdict["curves"]) for caption, draw in _FIGURES.get(verdict["id"], {}).items()}


def _line(curves: Curves, name: str) -> tuple[Any, Any, Any]:
    return curves[f"{name}_estimate"], curves[f"{name}_low"], curves[f"{name}_high"]


def _distribution(data: xr.Dataset, curves: Curves) -> Figure:
    views = data.sizes["view"]
    made, axes = figure(columns=2, width=4.6)
    spread, lottery = axes[0]
    bins = np.linspace(0, 1, 61)
    for name, values in (("margin", data["margin"].isel(fraction=0)), ("in_context", data["in_context"])):
        flat = values.values.ravel()
        spread.hist(flat, bins=bins, color=COLOURS[name], alpha=0.75, label=f"{LABELS[name]}, mean {flat.mean():.3f}")
    spread.axvline(1 / views, color=INK, linestyle="--", linewidth=1.2, label=f"law: 1/M = {1 / views:.3f}")
    spread.set(
        xlabel="coverage of one network", ylabel="networks", xlim=(0, min(1.0, 2.4 / views)), title="What single networks know"
    )
    spread.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
    _lottery(lottery, data, views)
    return made


def _lottery(axes: Any, data: xr.Dataset, views: int) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    winners = data["winner"].isel(root=0).values[:40]
    colours = ["#ffffff", *(VIEW_COLOURS[view % len(VIEW_COLOURS)] for view in range(views))]
    axes.imshow(winners + 1, aspect="auto", cmap=ListedColormap(colours), vmin=0, vmax=views, interpolation="nearest")
    axes.set(xlabel="class", ylabel="network (seed)", title="Which view won")
    axes.set_xticks(range(winners.shape[1]))
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.grid(visible=False)
    patches = [Patch(color=colours[view + 1], label=f"view {view + 1}") for view in range(views)]
    axes.legend(handles=patches, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _race(data: xr.Dataset, curves: Curves) -> Figure:
    made, axes = figure(columns=2, width=4.6)
    time, film = data["race_time"].values, data["race_correlation"].values
    for ax, label in zip(axes[0], _two_classes(data), strict=True):
        winner = int(data["race_winner"].values[label])
        for view in range(film.shape[2]):
            wins = view == winner
            ax.plot(
                time,
                film[:, label, view],
                color=VIEW_COLOURS[view % len(VIEW_COLOURS)],
                linewidth=2.2 if wins else 1.3,
                label=f"view {view + 1}" + (" wins" if wins else ""),
            )
        ax.set(xscale="log", yscale="log", xlabel="time on the gradient flow", title=f"The race in class {label}")
        positive = film[:, label][film[:, label] > 0]
        ax.set_ylim(max(3e-3, positive.min() / 1.5), positive.max() * 1.6)
        ax.set_xlim(max(time[0], time[-1] / 3e3), time[-1] * 1.1)
        ax.legend(loc="upper left")
    axes[0][0].set_ylabel(r"$\max_r \langle w_r, v\rangle / \rho$")
    return made


def _two_classes(data: xr.Dataset) -> list[int]:
    """The class with the closest race at the start, and the one with the widest lead."""
    first = np.sort(data["race_correlation"].values[0], axis=1)
    if first.shape[1] < 2:
        return [0, min(1, len(first) - 1)]
    lead = first[:, -1] / np.maximum(first[:, -2], 1e-12)
    return [int(lead.argmin()), int(lead.argmax())]


def _ensemble(data: xr.Dataset, curves: Curves) -> Figure:
    made, axes = figure(columns=1, width=5.6, height=3.6)
    ax, sizes = axes[0][0], np.asarray(curves["members"])
    ax.fill_between(
        sizes,
        np.asarray(curves["predicted"]) - 0.05,
        np.asarray(curves["predicted"]) + 0.05,
        color=LAW,
        alpha=0.12,
        linewidth=0,
        label="law ± 0.05",
    )
    ax.plot(sizes, curves["predicted"], color=INK, linestyle="--", linewidth=1.2, label=r"law: $1-(1-1/M)^N$")
    for name in ("margin", "in_context"):
        band(ax, sizes, _line(curves, name), COLOURS[name], LABELS[name])
    union = [float(np.nanmean(data["union"].sel(members=size).values)) for size in sizes.astype(int)]
    ax.plot(
        sizes,
        union,
        linestyle="none",
        marker="x",
        markersize=5,
        color=COLOURS["union"],
        label="union of the members' sets",
    )
    ax.set(
        xlabel="members N",
        ylabel="coverage of the ensemble",
        ylim=(0, 1.04),
        xticks=sizes,
        title="An ensemble against the law",
    )
    ax.legend(loc="lower right")
    return made


def _distillation(data: xr.Dataset, curves: Curves) -> Figure:
    made, axes = figure(columns=2, width=4.6, height=3.4)
    heat, width = axes[0]
    for ax, dim, table in ((heat, "tau", "temperature"), (width, "width", "narrow")):
        for name in ("margin", "in_context"):
            band(ax, curves[dim], _line(curves, f"{name}_{table}"), COLOURS[name], f"student, {LABELS[name]}")
        ax.axhline(float(data["margin_teacher"].mean()), color=INK, linewidth=1.2, label="teacher")
        baseline = float(data["margin_baseline"].mean())
        ax.axhline(baseline, color=COLOURS["baseline"], linestyle=":", linewidth=1.6, label="student, hard labels")
        one = float(data["margin_one_view"].mean())
        ax.axhline(one, color=COLOURS["warm"], linestyle="-.", linewidth=1.2, label="student of one network")
        ax.set(ylim=(0, 1.04), ylabel="coverage of the student")
    heat.set(xscale="log", xlabel="temperature", title="Distillation against temperature")
    heat.set_xticks(curves["tau"], [f"{tau:g}" for tau in curves["tau"]])
    heat.minorticks_off()
    width.set(xlabel="neurons per class", xticks=curves["width"], title="Distillation against width")
    made.legend(*heat.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return made


def _self_distillation(data: xr.Dataset, curves: Curves) -> Figure:
    made, axes = figure(columns=2, width=4.6, height=3.4)
    for ax, name in zip(axes[0], ("margin", "in_context"), strict=True):
        ax.plot(
            curves["generation"],
            curves["predicted"],
            color=INK,
            linestyle="--",
            linewidth=1.2,
            label=r"$1-(1-1/M)^{g+1}$",
        )
        for protocol in ("cold", "warm"):
            band(ax, curves["generation"], _line(curves, f"{name}_{protocol}"), COLOURS[protocol], protocol)
        ax.set(ylim=(0, 1.04), xticks=curves["generation"], xlabel="generation (0: hard labels)", title=LABELS[name])
        ax.legend(loc="upper left")
    axes[0][0].set_ylabel("coverage")
    return made


def _real_pixels(data: xr.Dataset, curves: Curves) -> Figure:
    made, axes = figure(columns=1, width=5.6, height=3.6)
    ax = axes[0][0]
    for name, label in (("power", "q = 4"), ("relu", "plain ReLU")):
        value, low, high = map(np.asarray, _line(curves, f"in_context_{name}"))
        known = high - low < 1
        line = value, np.where(known, low, value), np.where(known, high, value)
        band(ax, curves["members"], line, COLOURS[name], f"ensemble, {label}")
        ax.plot(
            [curves["members"][-1] + 0.7],
            curves[f"student_{name}"],
            marker="*",
            markersize=11,
            linestyle="none",
            color=COLOURS[name],
            label=f"student, {label}",
        )
    ax.set(
        xlabel="members N",
        ylabel="accuracy on fresh single-view examples",
        xticks=curves["members"],
        ylim=(0, 1.04),
        title="Digits as patches",
    )
    ax.legend(loc="lower right")
    return made


_FIGURES: dict[str, dict[str, Callable[[xr.Dataset, Curves], Figure]]] = {
    "single-view": {
        "Coverage of single networks, and which view each network learned in each class (first root seed).": _distribution,
        "One network along its training: the largest correlation of a class's neurons with each of its views, in the class "
        "with the closest start (left) and the widest (right).": _race,
    },
    "ensemble": {"Coverage of averaged logits against the law; bands are 95% intervals over ensembles.": _ensemble},
    "distillation": {
        "Students against temperature (left) and width (right); bands are 95% intervals over students.": _distillation
    },
    "self-distillation": {
        "Coverage by generation of self-distillation; bands are 95% intervals over chains.": _self_distillation
    },
    "real-pixels": {"Single-view accuracy on digits outside the training pool.": _real_pixels},
    "finite-size": {
        "Coverage of single networks, one setting varied at a time; bands are 95% intervals over networks.": finite_size_figure
    },
    "winner": {
        "Winners told from the initial weights (a: correlation of a neuron with a view, S: strength of the view in the data). "
        "Left: share of (seed, class) pairs told right, 95% intervals over networks; dotted: the bound that the growth rule is "
        "held to at q = 4. Right: pairs grouped by lead, 95% intervals over pairs.": winner_figure
    },
    "exponent": {
        "One view stronger than the others by f in S = E[z^q]. Right: the exponent fitted to all networks, with its 95% "
        "interval over networks.": exponent_figure
    },
    "blocker-001": {
        "What each ingredient is worth: coverage of single networks, bars are 95% intervals over networks.": blocker_figure,
        "The same in numbers, with 95% intervals (seed diversity: over classes).": blocker_table,
    },
    "dynamics": {
        "One network without noise, its weights integrated closely (lines) and as correlations alone (circles); how far apart "
        "the two are at each step, and at most in each network.": trajectory_figure,
        "Coverage of single networks by each depth of the dynamics, one setting varied at a time, and how often mean-field "
        "races tell a network's winner; bands are 95% intervals over networks.": depths_figure,
        "Where mean-field races hold and where they fail: strong distracting views, which couple the classes, "
        "and strong feature noise. A cell holds or fails where its whole 95% interval over networks is within the claim's "
        "bound, or outside it.": failing_figure,
    },
    "deep-linear": {
        "Singular modes of one network against the closed form (lines), aligned at the start (left) and from a random init "
        "(middle); how far random inits are from it (right, bands are 95% intervals over networks).": deep_linear_figure
    },
    "audit-cases": {
        "Known answer, and the answers given with their counts over root seeds; gain of the ensemble and share kept by the best "
        "student, smallest to largest over root seeds.": audit_cases_table
    },
    "gated": {
        "Shared and private pathways in gated linear networks. Left: one pair of 2 domains, 1 output an input, on the "
        "reduced equations, from an uneven aligned start and one as far off as its own size. Right: what sharing brings (above); "
        "where the reduction ends, and a head start for the private ways (below). Bands and bars are 95% intervals over "
        "networks.": gated_figure
    },
    "external-signal": {
        "What drives a view: its growth rate over (strength / rho)^(q-1), split into what the labels give at the same logits and "
        "the rest, the teacher's (0 under hard labels); bands are 95% intervals over networks. Bottom right: how the teacher's "
        "part of the growth goes with the strength, over the neurons of all views but the strongest when a class is taken; bars "
        "are 95% intervals over networks.": external_signal_figure
    },
    "remedies": {
        "blocker-001 with one remedy each; bars are 95% intervals over networks, rings are single networks that were trained on "
        "without the penalty.": remedies_figure,
        "Left: from an init scaled up for view 1, one network a factor and root seed; bands are 95% intervals over root seeds. "
        "Right: views of unequal strength, shares of the logits at amplitude 1; bars are 95% intervals over "
        "networks.": remedies_inits_figure,
        "The same in numbers, with 95% intervals over networks.": remedies_table,
    },
    **DEEP_FIGURES,
    **CONTROL_FIGURES,
}
