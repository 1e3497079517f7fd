"""A diagnosis in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from viewrace.measure import Estimate
from viewrace.study.diagnosis.after import TOLERANCE
from viewrace.study.diagnosis.lines import Rung

__all__ = ["cause_words", "conclusion"]


def shown(value: Estimate) -> str:
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def conclusion(state: str, found: Estimate | None, whole: Estimate | None, rungs: Sequence[Rung], views: int) -> str:
    """What is the matter, in one or two sentences."""
    if state == "one network":
        return "All seeds are one network (some inits are the same): mend that before anything else is read."
    if found is None:
        suspects = ", ".join(rung.name for rung in rungs)
        return f"Not trained. Suspects: {suspects}." if suspects else "Not trained. Nothing in the settings forbids a race."
    law = f"1/M = {1 / views:.2f}"
    number = f"coverage {shown(found)} (n = {found.n})"
    if state == "race":
        return f"No cause found: {number} ~ {law}, one view a class. This is a race."
    if state == "did not train":
        head = f"Most networks did not learn their training data ({number}): that comes before the race."
    elif state == "unclear":
        head = f"Between a race and none: {number}, {law}. More networks (--count) would tell."
    else:
        head = f"{state.capitalize()}: {number} where the law says {law}."
    return f"{head} {_remedy(rungs, whole, views)}"


def _remedy(rungs: Sequence[Rung], whole: Estimate | None, views: int) -> str:
    causes = [rung.name for rung in rungs if rung.cause]
    asked = [rung for rung in rungs if rung.change and rung.name != "training"]
    if whole is None or not rungs:
        return "None of the known causes is there: compare with the preset's settings (viewrace.preset())."
    after = f"With everything mended: {shown(whole)}."
    if not asked:
        return f"{_named(causes)} None of the other known causes is there: compare with viewrace.preset().".strip()
    if whole.low > 1 / views + TOLERANCE:
        return f"{_named(causes)} {after} Something else blunts the race as well: compare with viewrace.preset().".strip()
    if not causes:
        return f"{after} No single ingredient forbids a race by itself; together they do."
    return f"{_named(causes)} {after}"


def _named(causes: Sequence[str]) -> str:
    if not causes:
        return ""
    return f"Cause: {causes[0]}." if len(causes) == 1 else f"Causes, the largest first: {', '.join(causes)}."


def cause_words(rungs: Sequence[Rung]) -> list[str]:
    """One line a missing ingredient: what it does by itself, and what to change."""
    return [f"{rung.name}: {rung.here}; {_worth(rung)}; {' '.join(rung.commands())}" for rung in rungs]


def _worth(rung: Rung) -> str:
    if rung.effect is None:
        return "not tried (no training)"
    if rung.cause is None:
        return "networks with this alone left in do not fit their data: its worth cannot be told"
    return f"worth {rung.effect.value:+.2f} [{rung.effect.low:+.2f}, {rung.effect.high:+.2f}] in coverage"
