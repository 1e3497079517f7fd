"""The figure of a diagnosis: coverage by each definition, and what each missing ingredient is worth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from viewrace.report.style import COLOURS, INK, LAW, figure, look

__all__ = ["diagnosis_figure", "write_diagnosis_figure"]

DEFINITIONS = {
    "coverage, isolated": "isolated",
    "coverage, margin 0.1": "margin 0.1",
    "coverage, margin 0.5": "margin 0.5",
    "single-view accuracy": "in context",
}


def diagnosis_figure(found: Mapping[str, Any]) -> Figure:
    """Left: coverage of untrained and trained networks by each definition. Right: the missing ingredients, where there are
    any that were tried, with only that one left in and with only that one mended. Bars are 95% intervals over networks."""
    rungs = [rung for rung in found["rungs"] if rung["effect"] is not None]
    with look():
        height = max(3.1, 1.4 + 0.55 * len(rungs))
        made, axes = figure(columns=2 if rungs else 1, width=5.2, height=height)
        _definitions(axes[0][0], found)
        if rungs:
            _ingredients(axes[0][1], found, rungs)
        return made


def write_diagnosis_figure(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write diagnosis.png and diagnosis.pdf into `folder`."""
    made, paths = diagnosis_figure(found), [folder / "diagnosis.png", folder / "diagnosis.pdf"]
    made.savefig(paths[0], dpi=200)
    made.savefig(paths[1], metadata={"CreationDate": None})
    return paths


def _law(ax: Any, views: int) -> None:
    ax.axvline(1 / views, color=INK, linestyle="--", linewidth=1.1, label=f"law of a race: 1/M = {1 / views:.2f}")


def _point(ax: Any, value: Mapping[str, float] | None, y: float, colour: str, marker: str, label: str | None) -> None:
    if value is not None:
        ax.plot([value["low"], value["high"]], [y, y], color=colour, linewidth=2.2, alpha=0.5)
        ax.plot([value["value"]], [y], color=colour, marker=marker, markersize=6, linestyle="none", label=label)


def _definitions(ax: Any, found: Mapping[str, Any]) -> None:
    for group, part, colour, marker in (("untrained", "before", LAW, "s"), ("trained", "after", COLOURS["margin"], "o")):
        held = {line["name"]: line["value"] for line in found[part]}
        for row, name in enumerate(DEFINITIONS):
            _point(ax, held.get(f"{group}: {name}"), row, colour, marker, f"{group} networks" if row == 0 else None)
    _law(ax, found["views"])
    ax.set(xlim=(-0.02, 1.04), xlabel="coverage", title="By each definition", ylim=(len(DEFINITIONS) - 0.5, -0.5))
    ax.set_yticks(range(len(DEFINITIONS)), DEFINITIONS.values())
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)


def _ingredients(ax: Any, found: Mapping[str, Any], rungs: list[Mapping[str, Any]]) -> None:
    first = True
    for row, rung in enumerate(rungs):
        _point(ax, rung["alone"], row - 0.13, COLOURS["warm"], "o", "only this left as it is" if first else None)
        _point(ax, rung["mended"], row + 0.13, COLOURS["margin"], "D", "only this mended" if first else None)
        first = first and rung["alone"] is None
    if found["mended"] is not None:
        _point(ax, found["mended"], len(rungs), COLOURS["union"], "*", "all mended")
    _law(ax, found["views"])
    names = [rung["name"] for rung in rungs] + (["all mended"] if found["mended"] is not None else [])
    ax.set_yticks(range(len(names)), names)
    ax.set(xlim=(-0.02, 1.04), xlabel="coverage, margin 0.1", title="What each missing ingredient does")
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.17), ncols=2)
