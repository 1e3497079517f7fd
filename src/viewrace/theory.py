"""Closed forms of the theory: what coverage should be. Pure functions of numbers and NumPy arrays.

Source: Allen-Zhu & Li (AZL), "Towards Understanding Ensemble, Knowledge Distillation and Self-Distillation in Deep
Learning", ICLR 2023, arXiv 2012.09816; Theorems 1-4 there are stated for M = 2 views, the forms below for any M under
the reading that each network learns one view per class, uniformly at random and independently of other networks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from viewrace.errors import ViewraceError

__all__ = ["ensemble_coverage", "expected_union", "self_distilled_coverage", "single_coverage", "student_coverage"]


def _views(views: int) -> int:
    if views < 1:
        raise ViewraceError(f"views must be at least 1, received {views}: give the number of views per class")
    return views


def single_coverage(views: int) -> float:
    """Coverage C(f) of one network trained on hard labels: 1/M (AZL, Theorem 1)."""
    return 1.0 / _views(views)


def ensemble_coverage(views: int, members: ArrayLike) -> NDArray[np.float64]:
    """Coverage of the average of N networks, 1 - (1 - 1/M)^N (AZL, Theorem 2, finite N).

    `members` is N >= 0, a number or an array; the result has its shape.
    """
    count = np.asarray(members, dtype=np.float64)
    if np.any(count < 0):
        raise ViewraceError(f"members must be at least 0, received {count.min():g}: give the size of the ensemble")
    return np.asarray(1.0 - (1.0 - 1.0 / _views(views)) ** count)


def student_coverage(teacher: float) -> float:
    """Coverage of a student distilled from a teacher of coverage `teacher`: the teacher's (AZL, Theorem 3)."""
    if not 0.0 <= teacher <= 1.0:
        raise ViewraceError(f"coverage lies in [0, 1], received {teacher:g}: give a fraction")
    return teacher


def self_distilled_coverage(views: int, generation: ArrayLike) -> NDArray[np.float64]:
    """Coverage after `generation` rounds of self-distillation: 1 - (1 - 1/M)^(g + 1).

    One round joins the teacher's view with the student's own, like an ensemble of two (AZL, Theorem 4); generation 0 is
    the network trained on hard labels. The form for g > 1 supposes that nothing is forgotten, which AZL do not claim.
    """
    return ensemble_coverage(views, np.asarray(generation, dtype=np.float64) + 1.0)


def expected_union(win_probability: ArrayLike, members: ArrayLike) -> NDArray[np.float64]:
    """Expected coverage of N independent networks whose winners are *not* uniform.

    `win_probability` has shape (..., view) and sums to 1 over views; result is the mean over all leading axes and views of
    1 - (1 - p)^N, with the shape of `members`. Equal to `ensemble_coverage` where p = 1/M, and below it elsewhere (the
    function 1 - (1 - p)^N is concave), so it says how much a lopsided lottery costs an ensemble.
    """
    probability = np.asarray(win_probability, dtype=np.float64)
    count = np.asarray(members, dtype=np.float64)
    covered = 1.0 - (1.0 - probability.reshape(-1, 1)) ** count.reshape(1, -1)
    return np.asarray(covered.mean(axis=0).reshape(count.shape))
