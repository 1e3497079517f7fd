"""Why an ensemble helps, or does not: what its members differ in, against members that differ by noise alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viewrace.auditing.spread import group_sums, groups_of, left_out, spread
from viewrace.measure import (
    Estimate,
    ambiguity,
    disagreement,
    disputed,
    known_by_some,
    label_margins,
    mutual_information,
    noise_margins,
    pairwise_cka,
    split_share,
    usual_margin,
)

__all__ = ["LEAST_DISPUTED", "LEAST_MEMBERS", "LEAST_SPLIT", "Diversity", "Kind", "Line", "measure_diversity"]

Kind = Literal["none", "views", "variance", "unclear"]
LEAST_SPLIT = 0.02
LARGEST_SPLIT = 0.04
LEAST_MEMBERS = 4
LEAST_DISPUTED = 20
DRAWS = 20
SAME = 1e-6
Row = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A measure of the members, the same of members that differ by noise alone, and by how much it exceeds that."""

    name: str
    value: Estimate
    null: float | None = None
    excess: Estimate | None = None


@dataclass(frozen=True)
class Diversity:
    """lines: the measures. kind: `none` (members agree), `views` (some know what others do not), `variance` (they differ by
    noise about one answer, and surely by little else), `unclear` (too little to tell). twins: groups of members that are one
    network. margins: (bin, 3) for the figure: position of a member's margin between the example's lowest and highest, share
    among the members, share among members that differ by noise. members: how many there are. disputed: examples that some
    get and others do not."""

    lines: tuple[Line, ...]
    kind: Kind
    twins: tuple[tuple[int, ...], ...]
    margins: tuple[tuple[float, float, float], ...]
    members: int
    disputed: int

    def line(self, name: str) -> Line:
        """The measure of that name."""
        return next(line for line in self.lines if line.name == name)


def measure_diversity(logits: Tensor, labels: Tensor, generator: np.random.Generator) -> Diversity:
    """All of it from logits (member, example, class) and labels (example,)."""
    group = groups_of(labels, generator)
    plain = {
        "disagreement": lambda part: disagreement(part).numpy(),
        "ambiguity": lambda part: ambiguity(part.softmax(dim=-1)).numpy(),
        "mutual information": lambda part: mutual_information(part.softmax(dim=-1)).numpy(),
    }
    double = logits.double()
    lines = [Line(name, _mean(double, group, measure)) for name, measure in plain.items()]
    margins = label_margins(double, labels)
    parts = [np.delete(margins, left, axis=0) for left in range(len(margins))] if len(margins) > 2 else []
    patterns = [_Patterns.of(part, group, generator) for part in (*parts, margins)]
    lines += [_held(patterns, name) for name in ("only some get", "only some get, and with margin", "split in two groups")]
    lines.append(_alike(double, labels, generator))
    number = round(float(patterns[-1].disputed[0].sum()))
    kind = _kind(number, len(logits), lines[-2])
    return Diversity(tuple(lines), kind, _twins(logits), _positions(margins, generator), len(logits), number)


def _mean(logits: Tensor, group: NDArray[np.int64], measure: Callable[[Tensor], Row]) -> Estimate:
    """Mean over examples, with its interval over examples and members."""
    counts = np.bincount(group).astype(np.float64)
    columns = [group_sums(measure(part), group) for part in _without_each(logits)] + [group_sums(measure(logits), group)]

    def mean(left: int | None, member: int | None) -> float:
        return float(left_out(columns[-1 if member is None else member], left) / left_out(counts, left))

    return spread(mean, len(counts), len(logits), len(group))


def _without_each(logits: Tensor) -> list[Tensor]:
    """The logits without each member in turn; none where fewer than two members would be left."""
    members = range(len(logits))
    return [logits[[other for other in members if other != left]] for left in members] if len(logits) > 2 else []


@dataclass(frozen=True)
class _Patterns:
    """Sums over groups of examples, of the members and of members that differ by noise: (group,) each."""

    count: Row
    disputed: tuple[Row, Row]
    known: tuple[Row, Row]
    split: tuple[Row, Row]

    @classmethod
    def of(cls, margins: Row, group: NDArray[np.int64], generator: np.random.Generator) -> _Patterns:
        usual = usual_margin(margins)
        real = _pattern(margins, usual)
        noise = np.mean([_pattern(noise_margins(margins, generator), usual) for _ in range(DRAWS)], axis=0)
        pairs = [(group_sums(a, group), group_sums(b, group)) for a, b in zip(real, noise, strict=True)]
        return cls(np.bincount(group).astype(np.float64), *pairs)

    def read(self, name: str, which: int, left: int | None) -> float:
        """A measure of the members (which = 0) or of noise (1), without a group of examples."""
        if name == "split in two groups":
            over, under = self.split[which], self.disputed[which]
        else:
            over = (self.disputed if name == "only some get" else self.known)[which]
            under = self.count
        below = float(left_out(under, left))
        return float(left_out(over, left)) / below if below > 0 else 0.0


def _pattern(margins: Row, usual: float) -> Row:
    """(3, example): disputed, known with margin by some, and how well two groups explain a disputed example."""
    open_to = disputed(margins)
    return np.stack([open_to, known_by_some(margins, usual), open_to * split_share(margins)]).astype(np.float64)


def _held(patterns: list[_Patterns], name: str) -> Line:
    """One line from the patterns without each member, and of all of them (last)."""
    whole, members = patterns[-1], len(patterns) - 1

    def of(member: int | None) -> _Patterns:
        return whole if member is None else patterns[member]

    def excess(left: int | None, member: int | None) -> float:
        return of(member).read(name, 0, left) - of(member).read(name, 1, left)

    sizes = len(whole.count), members, int(whole.count.sum())
    value = spread(lambda left, member: of(member).read(name, 0, left), *sizes)
    return Line(name, value, whole.read(name, 1, None), spread(excess, *sizes))


def _alike(logits: Tensor, labels: Tensor, generator: np.random.Generator) -> Line:
    """Mean CKA of the members' logits in pairs; its null shuffles on every example which member said what, so that a member is
    nobody in particular."""
    members, examples, classes = logits.shape
    rank = torch.from_numpy(generator.random((members, examples)).argsort(axis=0))
    shuffled = logits.gather(0, rank[..., None].expand(-1, -1, classes))
    group = groups_of(labels, generator)
    pairs = [pairwise_cka(logits[:, torch.from_numpy(group != left)]) for left in range(group.max() + 1)]
    pairs.append(pairwise_cka(logits))

    def mean(left: int | None, member: int | None) -> float:
        kept = [other for other in range(members) if other != member]
        return _off_diagonal(pairs[-1 if left is None else left][kept][:, kept])

    return Line("CKA of the logits", spread(mean, len(pairs) - 1, members, examples), _off_diagonal(pairwise_cka(shuffled)))


def _off_diagonal(square: Tensor) -> float:
    count = len(square)
    return float((square.sum() - square.diagonal().sum()) / (count * (count - 1)))


def _kind(number: int, members: int, split: Line) -> Kind:
    """Of the number of disputed examples, that of the members, and the measure `split in two groups`."""
    assert split.excess is not None
    if number == 0:
        return "none"
    if number < LEAST_DISPUTED or members < LEAST_MEMBERS:
        return "unclear"
    if split.excess.value >= LEAST_SPLIT:
        return "views" if split.excess.low > 0 else "unclear"
    return "variance" if split.excess.high < LARGEST_SPLIT else "unclear"


def _twins(logits: Tensor) -> tuple[tuple[int, ...], ...]:
    """Groups of members whose logits are the same."""
    groups: list[list[int]] = []
    for member, mine in enumerate(logits):
        home = next((group for group in groups if float((logits[group[0]] - mine).abs().max()) <= SAME), None)
        groups.append([member]) if home is None else home.append(member)
    return tuple(tuple(group) for group in groups if len(group) > 1)


def _positions(margins: Row, generator: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    """A histogram of where the members' margins lie between the lowest (0) and the highest (1) of a disputed example."""
    bins = np.linspace(0, 1, 11)
    columns = []
    for held in (margins, noise_margins(margins, generator)):
        held = held[:, disputed(held)]
        low, high = (held.min(axis=0), held.max(axis=0)) if held.size else (np.zeros(0), np.ones(0))
        inner = np.sort((held - low) / np.where(high > low, high - low, 1), axis=0)[1:-1]
        count = np.histogram(inner, bins)[0]
        columns.append(count / max(count.sum(), 1))
    return tuple(zip(((bins[1:] + bins[:-1]) / 2).tolist(), *(column.tolist() for column in columns), strict=True))
