"""The page of an audit, from its JSON: gain by number of members, reliability, diversity against noise, distillation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from viewrace.report.page import rendered
from viewrace.report.style import COLOURS, INK, LAW, band, figure, look, svg

__all__ = ["audit_figures", "render_audit", "write_audit"]

ROWS = (
    ("accuracy", "accuracy, %", 100, 1),
    ("nll", "NLL, nats", 1, 3),
    ("brier", "Brier score", 1, 3),
    ("ece", "calibration error, %", 100, 1),
)
MEANINGS = {
    "disagreement": "share of the pairs of members that differ",
    "ambiguity": "by how much averaging probabilities lowers the squared error",
    "mutual information": "entropy of the average less the mean entropy, nats",
    "only some get": "share of the examples that some members get and some do not",
    "only some get, and with margin": "and some get with at least half of the usual margin",
    "split in two groups": "on those, share of the spread of margins that two groups explain; 1: some know, the rest do not",
    "CKA of the logits": "1 where members are one function; noise: members exchanged on each example",
}
CAPTIONS = {
    "gain": "Gain over one member by number of members, mean over subsets; bands are 95% intervals over examples and members.",
    "reliability": "Confidence against accuracy in bins of equal mass, after temperature scaling; the diagonal is perfect.",
    "diversity": "Where members' margins lie between the lowest and the highest of an example that only some get. Knowledge "
    "piles up at both ends; noise does not.",
    "pilot": "Share of the ensemble's gain that students keep; bars are 95% intervals over examples, members and students. Where "
    "there is no sure gain: their accuracy.",
}
BARE = {
    "two members": "Two members have no margin between the lowest and the highest: where margins pile up is not shown.",
    "none between": "No example that only some get has margins between its lowest and highest: where they pile up is not shown.",
}
"""What stands below the measures against noise where there is no histogram beside them."""


def render_audit(found: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> str:
    """HTML of an audit, readable without a network. `found` is `Audit.to_json()`."""
    figures = {name: svg(made) for name, made in audit_figures(found).items()}
    parts = {"figures": figures, "captions": CAPTIONS | _bare(found["diversity"]), "rows": ROWS, "meanings": MEANINGS}
    return rendered("audit.html", a=found, environment=environment or {}, **parts)


def _bare(diversity: Mapping[str, Any]) -> dict[str, str]:
    """The other caption, where there is no histogram of margins."""
    if _piled(diversity):
        return {}
    return {"diversity": BARE["two members" if diversity["members"] < 3 else "none between"]}


def write_audit(found: Mapping[str, Any], path: Path, environment: Mapping[str, str] | None = None) -> None:
    """Render and write the page to `path`; the caller moves it into place."""
    path.write_text(render_audit(found, environment), encoding="utf-8")


def audit_figures(found: Mapping[str, Any]) -> dict[str, Figure]:
    """By name: gain, reliability, diversity, and pilot where there was one."""
    with look():
        made = {"gain": _gain(found["gain"]), "reliability": _reliability(found), "diversity": _diversity(found["diversity"])}
        if found["pilot"]:
            made["pilot"] = _pilot(found)
        return made


def _line(points: Any, scale: float = 1.0) -> tuple[Any, Any, Any]:
    value, low, high = (scale * np.array([point[key] for point in points]) for key in ("value", "low", "high"))
    return value, low, high


def _gain(gain: Mapping[str, Any]) -> Figure:
    made, axes = figure(columns=2, width=4.8, height=3.3)
    points, nats = axes[0]
    sizes = np.asarray(gain["sizes"])
    band(points, sizes, _line(gain["curves"]["accuracy"], 100), COLOURS["margin"], "measured")
    ahead = gain["ahead"]
    if ahead:
        far = np.arange(1, len(ahead["fitted"]) + 1)
        points.plot(
            far, 100 * np.array(ahead["fitted"]), color=INK, linestyle="--", linewidth=1.2, label=f"law of {ahead['law']}"
        )
        top = ahead["ceiling"]
        points.axhspan(100 * top["low"], 100 * top["high"], color=LAW, alpha=0.12, linewidth=0)
        points.axhline(100 * top["value"], color=LAW, linewidth=1.0, linestyle=":", label=f"ceiling {100 * top['value']:.1f}")
    points.axhline(0, color="#bbbbbb", linewidth=0.8)
    points.set(xlabel="members N", ylabel="points of accuracy gained", title="Accuracy")
    points.legend(loc="lower right")
    band(nats, sizes, _line(gain["curves"]["nll"]), COLOURS["in_context"], "NLL, nats")
    band(nats, sizes, _line(gain["curves"]["brier"]), COLOURS["union"], "Brier score")
    nats.axhline(0, color="#bbbbbb", linewidth=0.8)
    nats.set(xlabel="members N", ylabel="by how much it falls", title="Probabilities, temperature-scaled")
    nats.legend(loc="lower right")
    for ax in axes[0]:
        ax.xaxis.get_major_locator().set_params(integer=True)
    return made


def _reliability(found: Mapping[str, Any]) -> Figure:
    made, axes = figure(columns=2, width=4.0, height=3.4)
    for ax, name, colour in zip(axes[0], ("single", "ensemble"), (COLOURS["in_context"], COLOURS["margin"]), strict=True):
        confidence, accuracy, share = np.array(found["pictures"][name]).T
        count = np.maximum(share * found["examples"], 1)
        error = 1.96 * np.sqrt(np.maximum(accuracy * (1 - accuracy), 0.25 / count) / count)
        ax.plot([0, 1], [0, 1], color=LAW, linewidth=1.0, linestyle="--")
        reach = np.minimum(error, accuracy), np.minimum(error, 1 - accuracy)
        ax.errorbar(confidence, accuracy, reach, color=colour, marker="o", markersize=4, linewidth=1.2, elinewidth=1.0)
        low = max(0.0, min(confidence.min(), accuracy.min()) - 0.1)
        title = "One member" if name == "single" else f"Ensemble of {found['members']}"
        ax.set(xlim=(low, 1.02), ylim=(low, 1.02), xlabel="confidence", ylabel="accuracy", title=title)
    return made


def _piled(diversity: Mapping[str, Any]) -> bool:
    """Whether any member's margin lies between the lowest and the highest of a disputed example."""
    return any(real > 0 for _, real, _ in diversity["margins"])


def _diversity(diversity: Mapping[str, Any]) -> Figure:
    """Margins in a histogram where there are any, and the measures against noise."""
    made, axes = figure(columns=1 + _piled(diversity), width=4.8, height=3.3)
    if _piled(diversity):
        _margins(axes[0][0], diversity)
    _against_noise(axes[0][-1], [line for line in diversity["lines"] if line["excess"]])
    return made


def _margins(place: Any, diversity: Mapping[str, Any]) -> None:
    at, real, noise = np.array(diversity["margins"]).T
    width = at[1] - at[0]
    place.bar(at, real, width=0.92 * width, color=COLOURS["margin"], alpha=0.75, label="members")
    edges = np.append(at - width / 2, at[-1] + width / 2)
    place.step(edges, np.append(noise, noise[-1]), where="post", color=INK, label="noise alone")
    place.set(xlabel="place of a margin: lowest 0, highest 1", ylabel="share of the members", title="Do some know, and some not?")
    place.set_ylim(0, 1.25 * max(real.max(), noise.max(), 0.1))
    place.legend(loc="upper center", ncols=2)


def _against_noise(ax: Any, lines: list[Mapping[str, Any]]) -> None:
    for row, line in enumerate(lines):
        value, first = line["value"], row == 0
        ax.plot([value["low"], value["high"]], [row, row], color=COLOURS["margin"], linewidth=2.2, alpha=0.5)
        ax.plot(value["value"], row, "o", color=COLOURS["margin"], markersize=6, label="members" if first else None)
        ax.plot(line["null"], row, "|", color=INK, markersize=14, markeredgewidth=2, label="noise alone" if first else None)
    ax.set_yticks(range(len(lines)), [line["name"].replace(", and", ",\nand") for line in lines])
    ax.set(xlim=(-0.02, 1.02), ylim=(len(lines) - 0.5, -0.8), title="Against noise alone")
    ax.legend(loc="upper left", ncols=2)


def _pilot(found: Mapping[str, Any]) -> Figure:
    made, axes = figure(columns=1, width=6.4, height=3.6)
    ax, pilot = axes[0][0], found["pilot"]
    gained = found["answers"]["helps"] == "yes"
    alphas = sorted({cell["alpha"] for cell in pilot["cells"]}, reverse=True)
    for shift, (alpha, colour) in enumerate(zip(alphas, (COLOURS["margin"], COLOURS["in_context"]), strict=False)):
        cells = [cell for cell in pilot["cells"] if cell["alpha"] == alpha]
        x = np.array([cell["temperature"] for cell in cells]) * 1.04 ** (2 * shift - 1)
        if gained:
            value, low, high = _line([cell["share"] for cell in cells])
            ax.errorbar(x, value, (value - low, high - value), color=colour, marker="o", capsize=2, label=f"alpha {alpha:g}")
        else:
            ax.plot(x, [cell["accuracy"] for cell in cells], color=colour, marker="o", label=f"alpha {alpha:g}")
    temperatures = sorted({cell["temperature"] for cell in pilot["cells"]})
    ax.set(xscale="log", xlabel="temperature", title="Students by temperature")
    ax.set_xticks(temperatures, [f"{temperature:g}" for temperature in temperatures])
    ax.minorticks_off()
    if gained:
        _marks(ax, pilot)
    else:
        ax.axhline(found["gain"]["single"]["accuracy"]["value"], color=LAW, linestyle=":", label="one member")
        ax.set_ylabel("accuracy of the student")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return made


def _marks(ax: Any, pilot: Mapping[str, Any]) -> None:
    ax.axhline(1, color=INK, linewidth=1.2, label="the ensemble")
    ax.axhline(0, color=COLOURS["baseline"], linestyle=":", linewidth=1.6, label="hard labels")
    alone = pilot["self_share"]
    ax.axhspan(alone["low"], alone["high"], color=COLOURS["union"], alpha=0.12, linewidth=0)
    ax.axhline(alone["value"], color=COLOURS["union"], linestyle="-.", linewidth=1.2, label="taught by one member")
    ax.set_ylabel("share of the gain kept")
