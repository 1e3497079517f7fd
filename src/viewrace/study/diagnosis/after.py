"""After training: what was learned, by every definition, and what became of the networks."""

from __future__ import annotations

import numpy as np

from viewrace.claims.lab import Networks
from viewrace.measure import Estimate, dominance, effective_rank, seed_diversity, winner
from viewrace.study.diagnosis.before import coverages
from viewrace.study.diagnosis.lines import Line, estimate
from viewrace.train import Outcome

__all__ = ["TOLERANCE", "after_training", "regime", "unfit"]

TOLERANCE = 0.05
"""Distance from 1/M within which a coverage counts as the law's (that of the claim single-view)."""

FIT = 0.99
"""Training accuracy below which a network has not learned its task, whatever its coverage."""

FAIR_DRAWS = 500


def after_training(networks: Networks, views: int, generator: np.random.Generator) -> tuple[list[Line], Estimate]:
    """The lines, and the coverage by margin 0.1 that the verdict is on."""
    trained, probes = networks.trained, networks.views.probes
    lines, by_margin = [], None
    for name, values in coverages(networks.views).items():
        found = estimate(values, generator)
        by_margin = found if name.endswith("0.1") else by_margin
        law = f"the law of a race is 1/M = {1 / views:.2f}" if name.startswith("margin") else ""
        lines.append(Line(f"trained: {name}", found, law))
    assert by_margin is not None
    lines.append(_fooled(lines, views))
    says = f"largest share of a view: {1 / views:.2f} if all are alike, 1 if one won"
    lines.append(Line("dominance", estimate(dominance(probes), generator), says))
    lines.append(
        Line("effective rank", estimate(effective_rank(probes), generator), f"1 if one view won, {views} if all are alike")
    )
    lines.append(_diversity(winner(probes), views, generator))
    groups = {group.label: int((trained.outcome == int(group)).sum()) for group in Outcome}
    counts = ", ".join(f"{count} {name}" for name, count in groups.items() if count)
    lines.append(Line("networks", counts, f"training accuracy {float(trained.right.mean()):.3f}, {len(trained)} networks"))
    return lines, by_margin


def _fooled(lines: list[Line], views: int) -> Line:
    isolated, by_margin = lines[0].value, lines[1].value
    assert isinstance(isolated, Estimate)
    assert isinstance(by_margin, Estimate)
    gap = isolated.value - by_margin.value
    fooled = gap > TOLERANCE
    says = "isolated counts traces as learned: read margin 0.1" if fooled else "the measure is not what makes the difference"
    return Line("isolated minus margin 0.1", gap, says)


def _diversity(winners: np.ndarray, views: int, generator: np.random.Generator) -> Line:
    value = estimate(seed_diversity(winners, views), generator, "classes")
    fair = generator.integers(views, size=(len(winners), FAIR_DRAWS))
    expected = float(seed_diversity(fair, views).mean())
    says = f"entropy of the winners over log M; a fair lottery of {len(winners)} networks gives {expected:.2f}"
    if value is not None and value.high < expected:
        says += ": here the data picks the view, not the init alone"
    return Line("winners' diversity over seeds", value, says)


def unfit(networks: Networks) -> int:
    """How many networks did not learn their training data."""
    return int((~(networks.trained.right >= FIT)).sum())


def regime(found: Estimate, views: int) -> str:
    """race, blunted race, no race, little learned or unclear, by the whole interval."""
    law = 1 / views
    half = (1 + law) / 2
    if found.high < law - TOLERANCE:
        return "little learned"
    if law - TOLERANCE <= found.low and found.high <= law + TOLERANCE:
        return "race"
    if found.low > half:
        return "no race"
    return "blunted race" if found.low > law + TOLERANCE else "unclear"
