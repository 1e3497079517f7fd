"""The audit's answers by fixed rules, and its advice in three sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from viewrace.auditing.gain import Gain
from viewrace.auditing.pilot import Pilot
from viewrace.auditing.why import LEAST_DISPUTED, LEAST_MEMBERS, Diversity, Kind
from viewrace.measure import Estimate

__all__ = ["LEAST_GAIN", "LEAST_SHARE", "Answer", "Answers", "advice", "answers"]

Answer = Literal["yes", "no", "unclear"]
LEAST_GAIN = 0.01
LARGEST_NOTHING = 0.02
LEAST_SHARE = 0.5
NEARLY = 0.8
SURER = 0.05


@dataclass(frozen=True)
class Answers:
    """helps: the ensemble gains at least a point of accuracy, the interval above 0 (`no`: less than a point, and surely less
    than two). why: what its members differ in. distils: a student keeps at least half of the gain, the interval above 0
    (`no`: surely less than half); None where there was no student, or nothing to keep.
    self_suffices: a student of one member keeps at least half, and at least 0.8 of what the ensemble's student keeps."""

    helps: Answer
    why: Kind
    distils: Answer | None
    self_suffices: bool | None


def answers(gain: Gain, diversity: Diversity, pilot: Pilot | None) -> Answers:
    """The rules, applied."""
    helps = _helps(gain.gains["accuracy"])
    if pilot is None or helps != "yes":
        return Answers(helps, diversity.kind, None, None)
    alone = pilot.self_share
    enough = alone.value >= LEAST_SHARE and alone.low > 0 and alone.value >= NEARLY * pilot.share.value
    return Answers(helps, diversity.kind, _keeps(pilot.share), enough)


def _helps(gain: Estimate) -> Answer:
    if gain.value >= LEAST_GAIN and gain.low > 0:
        return "yes"
    return "no" if gain.value < LEAST_GAIN and gain.high < LARGEST_NOTHING else "unclear"


def _keeps(share: Estimate) -> Answer:
    if share.value >= LEAST_SHARE and share.low > 0:
        return "yes"
    return "no" if share.high < LEAST_SHARE else "unclear"


def advice(found: Answers, gain: Gain, diversity: Diversity, pilot: Pilot | None) -> tuple[str, str, str]:
    """Three sentences: whether to ensemble, why, and whether to distil."""
    return _first(found, gain), _second(found, diversity), _third(found, pilot)


def _first(found: Answers, gain: Gain) -> str:
    size, brought = len(gain.sizes), gain.gains["accuracy"]
    number = f"{_points(brought)} points of accuracy with {size} members"
    if found.helps == "no":
        surer = _surer(gain)
        tail = f", though its probabilities are better (NLL {surer:.0%} lower)" if surer >= SURER else ""
        return f"No benefit: do not build an ensemble ({number}){tail}."
    if found.helps == "unclear":
        return f"It is not clear that an ensemble helps ({number}): more test examples or members would tell."
    assert gain.ahead is not None
    enough, ceiling = max(2, math.ceil(gain.ahead.enough.value - 1e-9)), gain.ahead.ceiling
    heading = f"about {100 * ceiling.value:.1f} [{100 * ceiling.low:.1f}, {100 * ceiling.high:.1f}] points"
    least = "" if found.why == "views" else "at least "  # noise goes on averaging out, slower than both laws say
    return f"An ensemble helps: {number}; its gain is heading for {least}{heading}, of which {enough} members reach 95%."


def _surer(gain: Gain) -> float:
    """By what part the NLL falls, where its interval is clear of 0."""
    less, single = gain.gains["nll"], gain.single["nll"].value
    return less.value / single if less.low > 0 and single > 0 else 0.0


def _second(found: Answers, diversity: Diversity) -> str:
    some = diversity.line("only some get").value
    share = f"{100 * some.value:.1f}% of the examples are got by some members and not by others"
    if found.why == "none":
        return "Its members agree on every example, so there is nothing to average."
    split = diversity.line("split in two groups")
    assert split.excess is not None
    number = f"{split.excess.value:+.3f} [{split.excess.low:+.3f}, {split.excess.high:+.3f}] over noise"
    if found.why == "unclear":
        return f"Why is not clear: {share}; {_doubt(diversity, number)}."
    if found.why == "views":
        return f"Members know different things: {share}, and there they fall into those who know and those who do not ({number})."
    return f"Members differ by noise about one answer, which an average removes: {share}; no two groups show there ({number})."


def _doubt(diversity: Diversity, number: str) -> str:
    """What keeps knowledge and noise from being told apart."""
    if diversity.members < LEAST_MEMBERS:
        return f"with {diversity.members} members knowledge cannot be told from noise, it takes {LEAST_MEMBERS}"
    if diversity.disputed < LEAST_DISPUTED:
        return f"these are {diversity.disputed} examples, too few to tell knowledge from noise"
    return f"whether they fall into those who know and those who do not is left open ({number})"


def _third(found: Answers, pilot: Pilot | None) -> str:
    if found.helps == "no":
        return "There is no gain to distil."
    if pilot is None:
        return "Whether one network can be taught the gain was not tried: no students were trained."
    if found.distils is None:
        return "There is no sure gain yet, so whether it can be distilled was not judged."
    kept = f"a student kept {_percent(pilot.share)} of the gain"
    best = f"temperature {pilot.temperature:g}, alpha {pilot.alpha:g}"
    if found.distils == "yes":
        alone = "self-distillation does nearly as well" if found.self_suffices else "self-distillation does not suffice"
        return f"Distil it: {kept} at {best}; {alone} ({_percent(pilot.self_share)})."
    if found.distils == "no":
        return f"Do not distil it into this model: {kept}, at best ({best})."
    return f"It is not clear that it can be distilled: {kept} at {best}."


def _points(value: Estimate) -> str:
    return f"{100 * value.value:+.1f} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"


def _percent(value: Estimate) -> str:
    return f"{100 * value.value:.0f}% [{100 * value.low:.0f}, {100 * value.high:.0f}]"
