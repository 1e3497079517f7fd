"""Intervals over test examples and members together, for any statistic, by leaving a part out.

The examples are cut into groups of equal size and class mixture; a statistic is computed anew without each group, and without
each member, and without both. A delete-a-group jackknife gives the variance over examples V_E, a delete-one jackknife that
over members V_M (Efron & Tibshirani 1993, chapter 11). Both hold what is due to a member on an example, V_EM, so the whole is
V_E + V_M - V_EM (Owen 2007, on data with two factors), and never less than the larger of the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from viewrace.measure import Estimate

__all__ = ["GROUPS", "LEVEL", "Statistic", "group_sums", "groups_of", "left_out", "spread"]

GROUPS = 20
LEVEL = 0.95
FEWEST_MEMBERS = 3
Statistic = Callable[[int | None, int | None], float]


def groups_of(labels: Tensor, generator: np.random.Generator) -> NDArray[np.int64]:
    """(example,) which of 20 groups an example is in; every class is spread evenly over them."""
    order = np.lexsort([generator.random(len(labels)), labels.numpy()])
    group = np.empty(len(labels), dtype=np.int64)
    group[order] = np.arange(len(labels)) % min(GROUPS, len(labels))
    return group


def group_sums(values: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """(..., group) sums of values (..., example)."""
    member_of = np.eye(int(group.max()) + 1)[group]
    return np.asarray(values, dtype=np.float64) @ member_of


def left_out(sums: NDArray[np.float64], group: int | None) -> NDArray[np.float64]:
    """(...,) sum over all groups (..., group), or over all but one."""
    total = sums.sum(axis=-1)
    return np.asarray(total if group is None else total - sums[..., group])


def spread(statistic: Statistic, groups: int, members: int, examples: int, besides: float = 0.0) -> Estimate:
    """An estimate and its interval, from `statistic(group left out, member left out)`, None for none.

    n counts examples. With fewer than three members the interval speaks of the examples alone, and `method` says so.
    besides: square of the half-width that some further source of variance has by itself.
    """
    value = statistic(None, None)
    by_group = np.array([statistic(group, None) for group in range(groups)])
    over_examples, method = _reach(by_group), f"jackknife over {examples} examples"
    square = over_examples
    if members >= FEWEST_MEMBERS:
        by_member = np.array([statistic(None, member) for member in range(members)])
        both = np.array([[statistic(group, member) for member in range(members)] for group in range(groups)])
        over_members = _reach(by_member)
        common = _common(both - by_group[:, None] - by_member + value)
        square = max(over_examples + over_members - common, over_examples, over_members)
        method += f" and {members} members"
    reach = math.sqrt(square + besides)
    return Estimate(value, value - reach, value + reach, examples, method)


def _reach(values: NDArray[np.float64]) -> float:
    """Square of the half-width of the t interval by the jackknife."""
    count = len(values)
    variance = (count - 1) / count * float(np.square(values - values.mean()).sum())
    return variance * float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) ** 2


def _common(interaction: NDArray[np.float64]) -> float:
    """The part that both jackknives count, (group, member); with the smaller of their t quantiles, so as to take off less."""
    groups, members = interaction.shape
    centred = interaction - interaction.mean(axis=0) - interaction.mean(axis=1, keepdims=True) + interaction.mean()
    variance = (groups - 1) / groups * (members - 1) / members * float(np.square(centred).sum())
    return variance * float(stats.t.ppf((1 + LEVEL) / 2, max(groups, members) - 1)) ** 2
