"""The experiments of the claim `dynamics`: each depth of the dynamics beside the one below, from the same starts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from viewrace.claims.lab import Bench, Networks, Role
from viewrace.config import Settings
from viewrace.measure import margin, winner
from viewrace.presets import preset
from viewrace.race import (
    MeanField,
    ProjectedFilm,
    ProjectedRun,
    Projection,
    lotka_volterra,
    power_race,
    run_mean_field,
    run_projected,
    start_of,
)
from viewrace.train import Trace, train
from viewrace.train.objective import Objective

__all__ = ["agreement", "clean", "exact", "mean_field", "noisy_starts", "own_views", "projected", "resized", "shares"]

CLEAN: dict[str, Any] = {"data.noise": 0.0, "data.feature_noise": 0.0}
CLOSE = 1e-9
"""Relative error of a step of the full network where it stands for the exact flow; the absolute one is the same."""
MARGIN = 0.1
LONG = 40.0
"""Time in which the linear form has used up its resource, with rates about 1."""


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


def exact(bench: Bench, seed: int) -> dict[str, Any]:
    """One network integrated closely in its weights, and projected, at the times of the projected run's steps.

    deviation: the largest difference of a correlation of a neuron with a view of its own class, over neurons, views, classes
    and times, over the largest such correlation. trained: the same for the network as it is trained, with the largest
    correlation of each (class, view), at the times of its own steps.
    """
    projection, film = Projection(bench.settings, bench.distribution), ProjectedFilm()
    ran = run_projected(projection, projection.start(1, seed), bench.settings.train, film=film)
    trace = _trained(bench, seed)
    last = film.time[-1]
    times = np.unique(np.concatenate([film.time, [t for t in trace.time if t < last]]))
    x = _closely(bench, seed, times, projection)
    own = torch.arange(projection.count), torch.arange(projection.count) // projection.views
    close = x[np.searchsorted(times, film.time)][:, :, own[0], own[1]]
    fast = torch.stack(film.correlation)[:, :, own[0], own[1]]
    size = float(close.amax())
    kept = [i for i, t in enumerate(trace.time) if t < last]
    tops = x[np.searchsorted(times, np.asarray(trace.time)[kept])][:, :, own[0], own[1]].amax(dim=1)
    slow = trace.stacked()[kept].flatten(1).double() / projection.rho
    ends = [projection.probes(state) for state in (x[-1][..., None], ran.correlation)]
    return {
        "deviation": float((fast - close).abs().amax()) / size,
        "trained": float((slow - tops).abs().amax()) / size,
        "same_winners": float((winner(ends[0]) == winner(ends[1])).mean()),
        "coverage_gap": float(np.abs(margin(ends[0]) - margin(ends[1])).max()),
        "time": np.asarray(film.time),
        "projected": fast.amax(dim=1).unflatten(1, (-1, projection.views)).numpy(),
        "full": close.amax(dim=1).unflatten(1, (-1, projection.views)).numpy(),
    }


def _trained(bench: Bench, seed: int) -> Trace:
    """The network as the spine trains it, traced."""
    trace = Trace(bench.distribution.features)
    generators = bench.generators(Role.MEMBER, seed, seed + 1)
    train(bench.family(), generators, bench.examples.inputs, bench.hard_loss(), bench.settings.train, trace=trace)
    return trace


def _closely(bench: Bench, seed: int, times: NDArray[np.float64], projection: Projection) -> Tensor:
    """(time, neuron, feature, class) x of the full network, all weights in float64, by Dormand-Prince 8(5,3)."""
    family = bench.family()
    weight = family.init(bench.generators(Role.MEMBER, seed, seed + 1))["weight"].double()
    objective, one = Objective(family, bench.examples.inputs.double(), bench.hard_loss()), torch.tensor([0])

    def flow(_: float, flat: NDArray[np.float64]) -> NDArray[np.float64]:
        params = {"weight": torch.from_numpy(flat).view_as(weight)}
        return objective.at(params, one, count_right=False).gradient["weight"].neg().numpy().ravel()

    start = weight.numpy().ravel()
    found = solve_ivp(flow, (0.0, float(times[-1])), start, method="DOP853", rtol=CLOSE, atol=CLOSE, t_eval=times)
    return projection.correlations(torch.from_numpy(found.y.T.copy()).view(-1, *weight.shape[1:])).permute(3, 0, 1, 2)


def projected(bench: Bench, count: int) -> tuple[Projection, Tensor, ProjectedRun]:
    """The first `count` networks of a setting without noise, projected: with their starts (neuron, feature, class, seed)."""
    projection = Projection(bench.settings, bench.distribution)
    start = projection.start(count)
    return projection, start, run_projected(projection, start, bench.settings.train)


def own_views(projection: Projection, x: Tensor) -> Tensor:
    """(seed, class, view, neuron) of correlations (neuron, feature, class, seed): each class's neurons with its own views."""
    split = x.unflatten(1, (projection.classes, projection.views)).diagonal(dim1=1, dim2=3)
    return split.permute(2, 3, 1, 0)


def noisy_starts(bench: Bench, count: int) -> dict[str, Tensor]:
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
    projection, begin, ran = projected(bench, count)
    first, last = (own_views(projection, x).amax(dim=3).clamp(min=1e-9) for x in (begin, ran.correlation))
    rate = MeanField.of(bench.settings).strengths(bench.examples).double().expand_as(first)
    q = bench.settings.net.q
    long = 10 * float(first.amax(dim=2).min()) ** -(q - 2) if q > 2 else LONG
    found = {
        "start": first,
        "network": last,
        "linear": lotka_volterra(first, rate, LONG),
        "power": power_race(first, rate, long, q),
    }
    return {name: (s.amax(dim=2) / s.sum(dim=2)).numpy() for name, s in found.items()}
