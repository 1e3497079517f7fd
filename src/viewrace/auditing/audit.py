"""The audit of members that are already there: from logits and labels to answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from viewrace.auditing.answers import Answers, advice, answers
from viewrace.auditing.gain import Gain, measure_gain
from viewrace.auditing.inputs import checked
from viewrace.auditing.pilot import GRID, Pilot, Students, fly
from viewrace.auditing.table import tabulate
from viewrace.auditing.why import Diversity, measure_diversity
from viewrace.errors import ViewraceError
from viewrace.measure import cross_fitted, halves, reliability
from viewrace.streams import Stream, numpy_generator
from viewrace.train.losses import averaged

__all__ = ["RULES", "Audit", "Cost", "Pictures", "audit_logits", "judge"]

TRAINED = 0.8
"""Students below this fraction of a member's accuracy did not train."""

RULES = ("logits", "probabilities")


@dataclass(frozen=True)
class Cost:
    """seconds: of the whole audit. member_seconds: to train one member. epochs: of each network. trained: networks in all."""

    seconds: float
    member_seconds: float
    epochs: int
    trained: int


@dataclass(frozen=True)
class Pictures:
    """What the figures need besides the measures: rows (confidence, accuracy, share of the examples) in bins of equal mass."""

    single: tuple[tuple[float, ...], ...]
    ensemble: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Audit:
    """What the audit found: `answers` and three sentences of `advice`, and the measures that they rest on.

    members, examples, classes: sizes. average: what is averaged, `logits` or `probabilities`. pilot, cost: None where there
    was no model to train. flags: what to know before reading on.
    """

    members: int
    examples: int
    classes: int
    average: str
    answers: Answers
    advice: tuple[str, str, str]
    gain: Gain
    diversity: Diversity
    pilot: Pilot | None
    cost: Cost | None
    pictures: Pictures
    flags: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values only (docs/results.md)."""
        return asdict(self)


def audit_logits(logits: ArrayLike | Tensor, labels: ArrayLike | Tensor, *, average: str = "logits", seed: int = 1) -> Audit:
    """Audit members by what they say of test examples that none of them was trained on.

    logits: (member, example, class), before softmax. labels: (example,). average: `logits` (AZL) or `probabilities`. seed: of
    the halves for temperature scaling and of the null. Raises ViewraceError with one line where the input is unfit.
    """
    return judge(*checked(logits, labels), average, seed)


def judge(
    logits: Tensor,
    labels: Tensor,
    average: str,
    seed: int,
    students: tuple[Students, Tensor] | None = None,
    grid: Sequence[tuple[float, float]] = GRID,
) -> Audit:
    """Measure, answer, advise. students: what trains them, and the members' logits of the training examples; grid: their
    temperatures and alphas."""
    if average not in RULES:
        raise ViewraceError(f"average must be one of {', '.join(RULES)}, received {average!r}: choose one")
    generator = numpy_generator(seed, Stream.BOOTSTRAP)
    table = tabulate(logits, labels, average, generator)
    gain, diversity = measure_gain(table), measure_diversity(logits, labels, generator)
    pilot = None if students is None else fly(students[0], (students[1], logits), labels, average, generator, grid)
    found = answers(gain, diversity, pilot)
    return Audit(
        members=len(logits),
        examples=len(labels),
        classes=logits.shape[-1],
        average=average,
        answers=found,
        advice=advice(found, gain, diversity, pilot),
        gain=gain,
        diversity=diversity,
        pilot=pilot,
        cost=None,
        pictures=_pictures(logits, labels, average, generator),
        flags=_probabilities(logits) + _flags(len(logits), diversity) + _untrained(pilot, gain),
    )


def _pictures(logits: Tensor, labels: Tensor, average: str, generator: np.random.Generator) -> Pictures:
    """Reliability of the first member and of the ensemble, each at its own temperature."""
    both = torch.cat([logits[:1], averaged(logits, average)])
    scaled, _ = cross_fitted(both, labels, halves(labels, generator))
    single, ensemble = (tuple(map(tuple, reliability(one, labels).tolist())) for one in scaled)
    return Pictures(single, ensemble)


def _probabilities(logits: Tensor) -> tuple[str, ...]:
    """Says so where the numbers look like what comes after a softmax, of which a second one is taken."""
    if logits.min() < 0 or not torch.allclose(logits.sum(dim=-1), torch.ones(()).double(), atol=1e-3):
        return ()
    return ("the logits sum to 1 in every example and none is below 0, as probabilities do: if they are, give their logarithms",)


def _untrained(pilot: Pilot | None, gain: Gain) -> tuple[str, ...]:
    """Names the cells of the pilot whose students did not learn at all: they say nothing of the temperature."""
    least = TRAINED * gain.single["accuracy"].value
    lost = [] if pilot is None else [cell for cell in pilot.cells if cell.accuracy < least]
    if not lost:
        return ()
    cells = ", ".join(f"{cell.temperature:g} (alpha {cell.alpha:g}: accuracy {cell.accuracy:.2f})" for cell in lost)
    words = f"students at temperature {cells} did not train at this rate, which says nothing of the temperature"
    return (f"{words}: lower the rate (--set rate=...) to compare them",)


def _flags(members: int, diversity: Diversity) -> tuple[str, ...]:
    flags = [f"members {', '.join(map(str, group))} are one network: count them once" for group in diversity.twins]
    if members < 4:
        flags.append(f"{members} members: the ceiling assumes that a gain grows as 1 - 1/N; four or more would tell its law")
    if members < 3:
        flags.append("two members: intervals speak of the examples alone, and noise cannot be told from knowledge")
    return tuple(flags)
