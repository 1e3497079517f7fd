"""From a lead to a probability: how sure a prediction of the winner is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import optimize
from scipy.special import expit, logit
from torch import Tensor

from viewrace.errors import ViewraceError

__all__ = ["Calibration", "Prediction", "calibration_error", "choose", "fit_calibration", "fit_weights", "predict"]

SLOPES = (1e-2, 1e4)
STARTS = (0.1, 1.0, 10.0, 100.0, 1000.0)
RIDGE = 1e-6
NEVER = -60.0


class Prediction(NamedTuple):
    """winner: (seed, class), the predicted view. probability: (seed, class, view), sums to 1 over views. lead: (seed,
    class), log advantage of the first over the second."""

    winner: NDArray[np.int64]
    probability: NDArray[np.float64]
    lead: NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """P(view) = (1 - lapse) softmax(slope x log advantage) + lapse / M.

    slope: how fast certainty grows with the lead; infinite for a race without noise. lapse: how often the rule is wrong
    whatever the lead. pairs: the (seed, class) pairs they were fitted to. accuracy: share of these where the rule was right
    (the rule itself has nothing fitted).
    """

    slope: float
    lapse: float
    pairs: int
    accuracy: float


def predict(log_advantage: Tensor | NDArray[np.float64], calibration: Calibration) -> Prediction:
    """The winning view of every (seed, class), with its probability."""
    values = np.asarray(log_advantage, dtype=np.float64)
    views = values.shape[-1]
    share = _softmax(calibration.slope * values)
    ordered = np.sort(values, axis=-1)
    lead = ordered[..., -1] - ordered[..., -2] if views > 1 else np.full(values.shape[:-1], np.inf)
    return Prediction(values.argmax(axis=-1), (1 - calibration.lapse) * share + calibration.lapse / views, lead)


def fit_calibration(log_advantage: Tensor | NDArray[np.float64], winners: ArrayLike) -> Calibration:
    """Slope and lapse by maximum likelihood on networks whose winners are known, (seed, class, view) against (seed, class).

    Pairs without a winner (-1) are left out. The lapse has a prior worth half a pair (its square root), so that it is never 0
    and no perfect separation makes the slope infinite.
    """
    values, won = _known(log_advantage, winners)
    rows, views = np.arange(len(won)), values.shape[-1]

    def cost(point: NDArray[np.float64]) -> float:
        slope, lapse = np.exp(np.clip(point[0], *np.log(SLOPES))), expit(point[1])
        share = (1 - lapse) * _softmax(slope * values) + lapse / views
        return float(-np.log(share[rows, won]).mean() - 0.5 * np.log(lapse) / len(won))

    starts = [np.array([np.log(slope), logit(0.5 / (len(won) + 1))]) for slope in STARTS]
    found = optimize.minimize(cost, min(starts, key=cost), method="Nelder-Mead")
    slope, lapse = float(np.exp(np.clip(found.x[0], *np.log(SLOPES)))), float(expit(found.x[1]))
    return Calibration(slope, lapse, len(won), float((values.argmax(axis=-1) == won).mean()))


def fit_weights(features: NDArray[np.float64], winners: ArrayLike) -> NDArray[np.float64]:
    """Weights (feature,) of a logistic choice of the winner from several advantages (seed, class, view, feature) at once.

    P(view) = softmax over views of features @ weights (McFadden's conditional logit), by maximum likelihood with a ridge of
    1e-6 on standardised features; returned for the features as given. The ceiling for rules made of these features. A view
    with a feature below NEVER (the log of nothing) is no choice; a pair that it won all the same is left out.
    """
    values, won = _known(features, winners, depth=2)
    choice = _is_choice(values)
    keep = choice[np.arange(len(won)), won]
    values, won, choice = values[keep], won[keep], choice[keep]
    rows, shown = np.arange(len(won)), choice[..., None]
    mean = np.where(shown, values, 0.0).sum(axis=1, keepdims=True) / choice.sum(axis=1)[:, None, None]
    centred = np.where(shown, values - mean, 0.0)
    scale = np.maximum(np.sqrt((centred**2).mean(axis=(0, 1))), 1e-12)
    centred = centred / scale

    def cost(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        share = _softmax(np.where(choice, centred @ weights, -np.inf))
        slope = np.einsum("nvf,nv->f", centred, share) - centred[rows, won].sum(axis=0)
        value = -np.log(np.maximum(share[rows, won], 1e-300)).mean() + RIDGE * weights @ weights
        return float(value), slope / len(won) + 2 * RIDGE * weights

    found = optimize.minimize(cost, np.zeros(values.shape[-1]), jac=True, method="L-BFGS-B")
    return np.asarray(found.x / scale)


def choose(features: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """(seed, class) the view that `fit_weights` finds most likely; one that is no choice there only where no other is."""
    score = np.where(_is_choice(features), features @ weights, -np.inf)
    none = np.isneginf(score).all(axis=-1, keepdims=True)
    return np.where(none, features.sum(axis=-1), score).argmax(axis=-1)


def _is_choice(features: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((features > NEVER).all(axis=-1))


def calibration_error(probability: ArrayLike, right: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error of predicted winners, over `bins` groups of equal size by probability.

    probability, right: (pair,). Mean over groups of |mean probability - share right| (Naeini et al. 2015, equal-mass bins).
    """
    stated, was = np.asarray(probability, dtype=np.float64).ravel(), np.asarray(right, dtype=np.float64).ravel()
    groups = [group for group in np.array_split(np.argsort(stated, kind="stable"), bins) if len(group)]
    gaps = [len(group) * abs(stated[group].mean() - was[group].mean()) for group in groups]
    return float(sum(gaps) / max(len(stated), 1))


def _known(
    values: Tensor | NDArray[np.float64], winners: ArrayLike, depth: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    plain = values.numpy() if isinstance(values, torch.Tensor) else np.asarray(values, dtype=np.float64)
    won = np.asarray(winners).ravel()
    flat = plain.reshape(-1, *plain.shape[-depth:])
    keep = won >= 0
    if not keep.any():
        raise ViewraceError("no pilot network learned a view of any class: train longer (train.steps) before winners are told")
    return flat[keep], won[keep].astype(np.int64)


def _softmax(score: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = np.exp(score - score.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
