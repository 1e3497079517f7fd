"""What was learned: coverage by three definitions, the race's outcome, and intervals."""

from viewrace.measure.composite import composite_views
from viewrace.measure.coverage import (
    MARGINS,
    Views,
    coverage,
    in_context_accuracy,
    learned,
    margin,
    view_logits,
    views_of,
)
from viewrace.measure.interval import Estimate, bootstrap, bootstrap_difference, percentiles
from viewrace.measure.race import (
    centred,
    dominance,
    effective_rank,
    seed_diversity,
    surviving_views,
    union,
    view_shares,
    winner,
)

__all__ = [
    "MARGINS",
    "Estimate",
    "Views",
    "bootstrap",
    "bootstrap_difference",
    "centred",
    "composite_views",
    "coverage",
    "dominance",
    "effective_rank",
    "in_context_accuracy",
    "learned",
    "margin",
    "percentiles",
    "seed_diversity",
    "surviving_views",
    "union",
    "view_logits",
    "view_shares",
    "views_of",
    "winner",
]
