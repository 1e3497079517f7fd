"""Verdicts: supported, refuted or inconclusive, by rules that were there before the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from viewrace.measure import Estimate

__all__ = ["Check", "Judgement", "Verdict", "at_least", "at_most", "combine", "within"]

Judgement = Literal["supported", "refuted", "inconclusive"]


@dataclass(frozen=True)
class Check:
    """One number held against one prediction; `rule` says in words what would support and what would refute it."""

    name: str
    predicted: float
    estimate: float
    low: float
    high: float
    n: int
    method: str
    rule: str
    verdict: Judgement


def _judge(inside: bool, outside: bool) -> Judgement:
    return "supported" if inside else "refuted" if outside else "inconclusive"


def within(name: str, predicted: float, estimate: Estimate, tolerance: float) -> Check:
    """Supported where the whole interval lies within `tolerance` of the prediction, refuted where none of it does."""
    inside = predicted - tolerance <= estimate.low and estimate.high <= predicted + tolerance
    outside = estimate.high < predicted - tolerance or estimate.low > predicted + tolerance
    ends = [abs(end - predicted) for end in (estimate.low, estimate.high)]
    rule = f"interval within {_told(tolerance, *ends)} of the prediction"
    return _check(name, predicted, estimate, rule, _judge(inside, outside))


def at_least(name: str, bound: float, estimate: Estimate, clear_of: float | None = None, law: float | None = None) -> Check:
    """Supported where the estimate is at least `bound` and the whole interval above `clear_of` (default: the bound).

    Refuted where the whole interval is below the bound. `law` is what theory predicts, where it says more than the bound.
    """
    floor = bound if clear_of is None else clear_of
    inside = estimate.value >= bound and estimate.low >= floor and (clear_of is None or estimate.low > floor)
    rule = f"at least {_told(bound, estimate.value, estimate.low, estimate.high)}"
    rule += "" if clear_of is None else f" and the interval above {clear_of:g}"
    predicted = bound if law is None else law
    return _check(name, predicted, estimate, rule, _judge(inside, estimate.high < bound))


def at_most(name: str, bound: float, estimate: Estimate) -> Check:
    """Supported where the whole interval is at most `bound`, refuted where all of it is above."""
    rule = f"at most {_told(bound, estimate.low, estimate.high)}"
    return _check(name, bound, estimate, rule, _judge(estimate.high <= bound, estimate.low > bound))


def _told(bound: float, *measured: float) -> str:
    """The bound with three decimals, below 0.1 three digits; in full where a measured number lies between that and the bound."""
    short = f"{bound:.3g}" if abs(bound) < 0.1 else f"{bound:.3f}".rstrip("0").rstrip(".")
    low, high = sorted((bound, float(short)))
    return f"{bound:g}" if any(low <= number <= high for number in measured) else short


def _check(name: str, predicted: float, estimate: Estimate, rule: str, verdict: Judgement) -> Check:
    numbers = (estimate.value, estimate.low, estimate.high)
    if not all(math.isfinite(number) for number in numbers):
        verdict = "inconclusive"
    return Check(name, float(predicted), *numbers, estimate.n, estimate.method, rule, verdict)


def combine(checks: Sequence[Check]) -> Judgement:
    """Supported if all are, refuted if any is, else inconclusive."""
    found = {check.verdict for check in checks}
    return "refuted" if "refuted" in found else "supported" if found == {"supported"} else "inconclusive"


@dataclass(frozen=True)
class Verdict:
    """A claim judged. The first check is the headline; `curves` holds arrays for what is a function of something,
    `measures` what was measured beside the checks."""

    id: str
    statement: str
    source: str
    checks: tuple[Check, ...]
    flags: tuple[str, ...] = ()
    curves: dict[str, list[float]] = field(default_factory=dict)
    measures: dict[str, Estimate] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def verdict(self) -> Judgement:
        """Supported if every check is, refuted if any is, else inconclusive."""
        return combine(self.checks)

    def to_json(self) -> dict[str, Any]:
        """Plain data: id, statement, source, the headline's predicted, estimate, low, high, n, and all checks."""
        head = self.checks[0]
        return {
            "id": self.id,
            "statement": self.statement,
            "source": self.source,
            "predicted": head.predicted,
            "estimate": head.estimate,
            "low": head.low,
            "high": head.high,
            "n": head.n,
            "interval": head.method,
            "verdict": self.verdict,
            "flags": list(self.flags),
            "seconds": round(self.seconds, 2),
            "checks": [asdict(check) for check in self.checks],
            "curves": self.curves,
            "measures": {name: asdict(estimate) for name, estimate in self.measures.items()},
        }

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Verdict:
        """The inverse of `to_json`."""
        checks = tuple(Check(**check) for check in tree["checks"])
        measures = {name: Estimate(**estimate) for name, estimate in tree["measures"].items()}
        return cls(
            id=tree["id"],
            statement=tree["statement"],
            source=tree["source"],
            checks=checks,
            flags=tuple(tree["flags"]),
            curves=tree["curves"],
            measures=measures,
            seconds=tree["seconds"],
        )
