"""In what the members of an ensemble differ, example by example, and what noise alone would show.

All work on logits (member, example, class) and give one value an example, so that an interval can be taken over examples.
The margin of a member on an example is the logit of the label less the largest other: positive where it is right.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "ambiguity",
    "disagreement",
    "disputed",
    "error_correlation",
    "known_by_some",
    "label_margins",
    "mutual_information",
    "noise_margins",
    "split_share",
    "usual_margin",
]

Margins = NDArray[np.float64]
KNOWN = 0.5


def disagreement(logits: Tensor) -> Tensor:
    """(example,) share of the pairs of members whose predictions differ, 0 to 1."""
    members, _, classes = logits.shape
    votes = torch.nn.functional.one_hot(logits.argmax(dim=-1), classes).sum(dim=0).double()
    return 1 - (votes * (votes - 1)).sum(dim=-1) / (members * (members - 1))


def ambiguity(probability: Tensor) -> Tensor:
    """(example,) mean over members of |p_i - p|^2, p their average; from probabilities (member, example, class).

    The squared error of the average is the members' mean squared error less this, exactly (Krogh & Vedelsby 1995).
    """
    return (probability - probability.mean(dim=0)).square().sum(dim=-1).mean(dim=0)


def mutual_information(probability: Tensor) -> Tensor:
    """(example,) entropy of the average prediction less the members' mean entropy, in nats; 0 where all agree."""
    entropy = torch.special.entr(probability).sum(dim=-1).mean(dim=0)
    return (torch.special.entr(probability.mean(dim=0)).sum(dim=-1) - entropy).clamp(min=0)


def label_margins(logits: Tensor, labels: Tensor) -> Margins:
    """(member, example) logit of the label less the largest other logit."""
    at = labels.expand(logits.shape[:-1])[..., None]
    own = logits.gather(-1, at)[..., 0]
    other = logits.scatter(-1, at, -torch.inf).amax(dim=-1)
    return (own - other).double().numpy()


def disputed(margins: Margins) -> NDArray[np.bool_]:
    """(example,) some members are right and some are wrong: what an ensemble can gain on."""
    right = margins > 0
    return np.asarray(right.any(axis=0) & ~right.all(axis=0))


def error_correlation(wrong: NDArray[np.bool_]) -> float:
    """Mean correlation between the errors of two members, over all pairs; wrong: (member, example).

    1: all err on the same examples. 0: they err independently. Members that are always right, or never, have no correlation
    and are left out; NaN where fewer than two are left.
    """
    varied = wrong[wrong.any(axis=1) & ~wrong.all(axis=1)].astype(np.float64)
    if len(varied) < 2:
        return float("nan")
    return float(np.atleast_2d(np.corrcoef(varied))[np.triu_indices(len(varied), 1)].mean())


def usual_margin(margins: Margins) -> float:
    """Median of the members' mean margin over examples that all of them get; over those that any gets where there are none."""
    right = margins > 0
    all_right = right.all(axis=0)
    if all_right.any():
        return float(np.median(margins[:, all_right].mean(axis=0)))
    return float(np.median(margins[right])) if right.any() else 0.0


def known_by_some(margins: Margins, usual: float) -> NDArray[np.bool_]:
    """(example,) disputed, and some member gets it with at least half of the usual margin."""
    return disputed(margins) & (margins.max(axis=0) >= KNOWN * usual) & (usual > 0)


def split_share(margins: Margins) -> NDArray[np.float64]:
    """(example,) the largest share of the members' variance in margin that a split of them into two groups explains.

    1: the members fall into two groups with nothing between, those who know and those who do not. It does not depend on
    the example's mean or spread. 1 where all margins are equal (no spread to explain).
    """
    centred = np.sort(margins, axis=0)
    centred = centred - centred.mean(axis=0)
    members, total = len(margins), np.square(centred).sum(axis=0)
    below = np.arange(1, members)[:, None]
    between = np.square(np.cumsum(centred, axis=0)[:-1]) * members / (below * (members - below))
    return np.where(total > 0, between.max(axis=0) / np.where(total > 0, total, 1.0), 1.0)


def noise_margins(margins: Margins, generator: np.random.Generator) -> Margins:
    """(member, example) margins of members that share one mean margin an example and differ by Gaussian noise alone.

    Each example keeps the mean and the spread that were measured; what is left, the pattern of the members about that mean,
    is drawn anew. For Gaussian members this pattern is uniform on a sphere and independent of mean and spread (Basu 1955),
    so the comparison is exact, whatever the noise of each example.
    """
    drawn = generator.standard_normal(margins.shape)
    drawn -= drawn.mean(axis=0)
    drawn *= margins.std(axis=0) / drawn.std(axis=0)
    return margins.mean(axis=0) + drawn
