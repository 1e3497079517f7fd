"""The experiments of the claim `dynamics`: each depth of the dynamics beside the one below, from the same starts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from viewrace.claims.lab import Bench, Networks, Role
from viewrace.config import Settings
from viewrace.data import Distribution, Examples
from viewrace.measure import winner
from viewrace.presets import preset
from viewrace.race import MeanField, Projection, compete, lotka_volterra, run_mean_field, start_of
from viewrace.race.stiff import settle
from viewrace.race.trajectory import Film, run
from viewrace.train import Trace, evaluate_logits, train
from viewrace.train.objective import Objective

__all__ = [
    "CLOSE",
    "ExactDistribution",
    "Projected",
    "agreement",
    "clean",
    "closely",
    "exact",
    "mean_field",
    "own_views",
    "projected",
    "resized",
    "shares",
    "starts",
]

CLEAN: dict[str, Any] = {"data.noise": 0.0, "data.feature_noise": 0.0}
CLOSE = 1e-10
"""Relative error of a step of the full network where it stands for the exact flow; the absolute one is the same. At the preset
(root seed 0, one network) it is 1.2e-6 from what 1e-12 gives, 1e-9 is 1.6e-5 and 1e-8 is 1.2e-4."""
RACE_STEPS = 1500
"""Evaluations of the explicit method, enough for most networks; where more is asked for, what is left is stiff."""
MARGIN = 0.1


def clean(settings: Settings, **changes: Any) -> Settings:
    """The settings without noise, with `changes`."""
    return settings.replace(**CLEAN | changes)


def resized(settings: Settings, views: int | None = None, classes: int | None = None) -> Settings:
    """The settings for other numbers of views and classes, with the sizes that follow: as many examples a class as before."""
    data = settings.data
    views, classes = views or data.views, classes or data.classes
    fitting = preset(views, classes).data
    expected = round(data.distractors / data.classes * (classes - 1) * views)
    return settings.replace(
        **{
            "data.views": views,
            "data.classes": classes,
            "data.distractors": data.distractors * classes / data.classes,
            "data.examples": round(data.examples * classes / data.classes),
            "data.dim": fitting.dim,
            "data.patches": data.patches_per_feature * (views + expected),
        }
    )


class ExactDistribution(Distribution):
    """The data of a setting without noise, with what projected dynamics assume of them exact in float64.

    As drawn, in float32, features are orthonormal and patches multiples of them to 4e-8 alone, which the moments in which a
    class is learned magnify some thousand times. Here features (class, view, dim) are the orthonormal frame nearest to those
    drawn, the polar factor (V V^T)^(-1/2) V (Higham, Functions of Matrices, chapter 8), and each patch is its share of an
    amplitude times one of them; labels, amplitudes and which patch holds what are those drawn.
    """

    @property
    def features(self) -> Tensor:
        drawn = super().features
        left, _, right = torch.linalg.svd(drawn.flatten(0, 1).double(), full_matrices=False)
        return (left @ right).view_as(drawn)

    def train(self) -> Examples:
        drawn = super().train()
        amplitude, held = drawn.amplitude.double(), drawn.patch_feature.clamp(min=0)
        share = amplitude.flatten(1) / self.config.patches_per_feature
        shown = share.gather(1, held) * (drawn.patch_feature >= 0)
        return replace(drawn, amplitude=amplitude, inputs=shown[:, :, None] * self.features.flatten(0, 1)[held])


def exact(bench: Bench, seed: int) -> dict[str, Any]:
    """One network integrated closely in its weights, and projected, at the times of the projected run's steps, both on data
    exact in float64.

    deviation: the largest difference of a correlation of a neuron with a feature, over neurons, classes, features and times,
    over the largest correlation. trained: the same for the network as it is trained, on the data as drawn, in float32, with the
    largest correlation of each (class, view), at the times of its own steps. time, projected, full: those of the run, (step,
    class, view).
    """
    data, film = ExactDistribution(bench.settings.data, bench.root), Film()
    projection = Projection(bench.settings, data)
    weight = bench.family().init(bench.generators(Role.MEMBER, seed, seed + 1))["weight"]
    run(projection, projection.correlations(weight), bench.settings.train, film=film)
    trace = _trained(bench, seed)
    kept = [i for i, time in enumerate(trace.time) if time < film.time[-1]]
    slow_times = np.asarray(trace.time)[kept]
    times = np.unique(np.concatenate([film.time, slow_times]))
    close = closely(bench, weight, times, projection, data.train().inputs)
    at_steps, fast = close[np.searchsorted(times, film.time)], torch.stack(film.correlation)
    size = float(close.amax())
    slow = trace.stacked()[kept].double() / projection.rho
    return {
        "deviation": float((fast - at_steps).abs().amax()) / size,
        "trained": float((slow - _tops(projection, close)[np.searchsorted(times, slow_times)]).abs().amax()) / size,
        "time": np.asarray(film.time),
        "projected": _tops(projection, fast).numpy(),
        "full": _tops(projection, at_steps).numpy(),
    }


def _tops(projection: Projection, x: Tensor) -> Tensor:
    """(step, class, view) largest correlation with each view, from x (step, neuron, feature, class)."""
    return own_views(projection, x.permute(1, 2, 3, 0)).amax(dim=3)


def _trained(bench: Bench, seed: int) -> Trace:
    """The network as the spine trains it, on the data as drawn, in float32; traced."""
    trace = Trace(bench.distribution.features)
    generators = bench.generators(Role.MEMBER, seed, seed + 1)
    train(bench.family(), generators, bench.examples.inputs, bench.hard_loss(), bench.settings.train, trace=trace)
    return trace


def closely(bench: Bench, weight: Tensor, times: NDArray[np.float64], projection: Projection, inputs: Tensor) -> Tensor:
    """(time, neuron, feature, class) x of the full network from `weight` (1, class, neuron, dim) on `inputs`, float64: all its
    weights, by Dormand-Prince 8(5,3)."""
    weight = weight.double()
    objective, one = Objective(bench.family(), inputs, bench.hard_loss()), torch.tensor([0])

    def flow(_: float, flat: NDArray[np.float64]) -> NDArray[np.float64]:
        params = {"weight": torch.from_numpy(flat).view_as(weight)}
        return objective.at(params, one, count_right=False).gradient["weight"].neg().numpy().ravel()

    start = weight.numpy().ravel()
    found = solve_ivp(flow, (0.0, float(times[-1])), start, method="DOP853", rtol=CLOSE, atol=CLOSE, t_eval=times)
    return projection.correlations(torch.from_numpy(found.y.T.copy()).view(-1, *weight.shape[1:])).permute(3, 0, 1, 2)


class Projected(NamedTuple):
    """Projected networks. start: (seed, class, view, neuron) x of each class with its own views, and so `end`; probes: logits of
    the views shown alone, as the measures take them; done: (seed,) whether the stopping rule was met."""

    start: Tensor
    end: Tensor
    probes: Tensor
    done: Tensor


def projected(bench: Bench, count: int) -> Projected:
    """The first `count` networks of a setting without noise, projected."""
    projection, family = Projection(bench.settings, bench.distribution), bench.family()
    weight = family.init(bench.generators(Role.MEMBER, 0, count))["weight"]
    start = projection.correlations(weight)
    train = bench.settings.train
    raced = run(projection, start, train.model_copy(update={"steps": min(train.steps, RACE_STEPS)}))
    ran = settle(projection, raced, train)
    shown = bench.distribution.probes()
    logits = evaluate_logits(family, {"weight": projection.lift(ran.correlation, weight)}, shown.flatten(0, 2))
    own_start, own_end = own_views(projection, start), own_views(projection, ran.correlation)
    return Projected(own_start, own_end, logits.unflatten(1, shown.shape[:3]), ran.done)


def own_views(projection: Projection, x: Tensor) -> Tensor:
    """(seed, class, view, neuron) of correlations (neuron, feature, class, seed): each class's neurons with its own views."""
    split = x.unflatten(1, (projection.classes, projection.views)).diagonal(dim1=1, dim2=3)
    return split.permute(2, 3, 1, 0)


def starts(bench: Bench, count: int) -> dict[str, Tensor]:
    """(seed, class, view, neuron) x at the start by name: `raw` <w, v> / rho, and `growth`, the correlation that the growth
    measured on the training data stands for."""
    family = bench.family()
    start = start_of(family, family.init(bench.generators(Role.MEMBER, 0, count)), bench.examples, bench.distribution.features)
    both = {"raw": start.correlation, "growth": start.effective}
    return {name: x.transpose(2, 3) / bench.settings.net.rho for name, x in both.items()}


def mean_field(bench: Bench, start: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(seed, class) the view that wins the mean-field race from x (seed, class, view, neuron), and (seed,) its coverage."""
    field = MeanField.of(bench.settings)
    strength = field.strengths(bench.examples).repeat(len(start), 1)
    logits = field.view_logits(run_mean_field(field, start.flatten(0, 1), strength)).unflatten(0, start.shape[:2])
    best = logits.amax(dim=2, keepdim=True)
    covered = ((logits >= MARGIN * best) & (logits > 0)).double().mean(dim=(1, 2))
    return torch.where(best[..., 0] > 0, logits.argmax(dim=2), -1).numpy(), covered.numpy()


def agreement(networks: Networks, winners: NDArray[np.int64]) -> NDArray[np.float64]:
    """(seed,) share of the classes in which the network's strongest view is that of `winners`."""
    return (winner(networks.views.probes) == winners).mean(axis=1)


def shares(bench: Bench, count: int) -> dict[str, NDArray[np.float64]]:
    """(seed, class) share of the leader in the summed correlations of a class's views, by which form.

    A view's correlation is the largest of its neurons'. `start`: before training; `network`: after it; `linear` and `power`: what
    the two forms make of the start, with capacity 1 and each view's E[z^q] as its rate.
    """
    found = projected(bench, count)
    first, last = (x.amax(dim=3).clamp(min=1e-9) for x in (found.start, found.end))
    rate = MeanField.of(bench.settings).strengths(bench.examples).double().expand_as(first)
    forms = {"linear": lotka_volterra(first, rate), "power": compete(first, rate, bench.settings.net.q)}
    both = {"start": first, "network": last} | forms
    return {name: (s.amax(dim=2) / s.sum(dim=2)).numpy() for name, s in both.items()}
