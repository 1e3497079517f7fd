"""What the claim `gated` trains: networks from aligned starts beside the reduced equations, and races from random ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from viewrace.claims.lab import Role
from viewrace.nets import Params
from viewrace.race.gated import correlations
from viewrace.race.gated_flow import gradient
from viewrace.race.reduction import aligned_weights, path_strength, pathway_strengths, reduced_gradient
from viewrace.race.routing import Routing, random_init, routing, shared_share, trained_error, untrained_error
from viewrace.race.rungekutta import trajectory
from viewrace.streams import Stream, torch_generator

__all__ = [
    "DOMAINS",
    "INIT",
    "MODES",
    "RACE_CHANGE",
    "SPREAD",
    "STEP_CHANGE",
    "UNITS",
    "beside_reduction",
    "films",
    "race",
    "task",
]

DOMAINS, UNITS, MODES = 4, 4, (1.0, 0.8)
SPREAD = (0.5, 1.5)
INIT = 0.15
HORIZON, INTERVAL = 2.0, 0.25
RACE_HORIZON, RACE_INTERVAL = 5.0, 0.375
STEP_CHANGE, SCALAR_CHANGE, RACE_CHANGE = 0.01, 1e-3, 0.02


def task(root: int, domains: int, outputs: int) -> Routing:
    """The routing task of a root seed: `domains` input and output domains, each input trained with `outputs` outputs."""
    generator = torch_generator(root, Stream.FEATURES, int(Role.GATED), domains, outputs)
    return routing(domains, outputs, torch.tensor(MODES, dtype=torch.float64), UNITS, UNITS, UNITS, generator)


def _generators(root: int, *indices: int, count: int) -> list[torch.Generator]:
    return [torch_generator(root, Stream.INIT, int(Role.GATED), *indices, seed) for seed in range(count)]


def _times(domains: int, start: float, horizon: float, interval: float) -> Tensor:
    """In units of `domains`: a shared pathway learns at the rate s start / domains, whatever the number of outputs."""
    end = horizon / start
    return torch.linspace(0, end * domains, round(end / interval) + 1, dtype=torch.float64)


def beside_reduction(root: int, domains: int, outputs: int, start: float, noises: Sequence[float], count: int) -> dict[str, Any]:
    """Networks from uneven aligned starts, each off them by `noises` (relative, root mean square), and the reduced equations.

    simulated: (noise, time, seed, path, mode) pathway strengths relative to s; reduced: the same without noise; deviation:
    (noise, seed) the largest difference; ways: the shared and the private path of the first pair.
    """
    made, times = task(root, domains, outputs), _times(domains, start, HORIZON, INTERVAL)
    known, generators = correlations(made.graph, made.examples), _generators(root, 0, domains, outputs, count=count)
    low, high = SPREAD
    size = (len(made.graph.edges), len(MODES))
    uniform = torch.stack([torch.rand(size, generator=generator, dtype=torch.float64) for generator in generators])
    strengths = start * (low + (high - low) * uniform)
    aligned = aligned_weights(made.graph, made.bases, strengths, generators)
    drawn = random_init(made, start, 1.0, generators)
    flow, simulated = gradient(made.graph, known), []
    for noise in noises:
        params = {name: weight + noise * drawn[name] for name, weight in aligned.items()}
        found = trajectory(flow, params, times, partial(pathway_strengths, made.graph, known, made.bases), STEP_CHANGE)
        simulated.append(found.values / made.s)

    def products(now: Params) -> Tensor:
        return torch.stack([path_strength(now["strength"], path) for path in known.pathways], dim=1)

    scalars = reduced_gradient(made.graph, known, made.bases)
    reduced = trajectory(scalars, {"strength": strengths}, times, products, SCALAR_CHANGE).values / made.s
    together = torch.stack(simulated)
    return {
        "time": times.numpy(),
        "simulated": together.numpy(),
        "reduced": reduced.numpy(),
        "deviation": (together - reduced).abs().amax(dim=(1, 3, 4)).numpy(),
        "ways": [known.pathways.index(path) for path in (made.shared[0], made.private[0])],
    }


def race(root: int, domains: int, outputs: int, lead: float, count: int) -> dict[str, Any]:
    """Networks trained from random weights, the private ones `lead` times larger: (seed,) measures at the end, and the change
    of the last halving of the step. `untrained` is left out where every pair is trained."""
    made = task(root, domains, outputs)
    params = random_init(made, INIT, lead, _generators(root, 1, domains, outputs, count=count))
    flow = gradient(made.graph, correlations(made.graph, made.examples))

    def measured(now: Params) -> Tensor:
        others = [untrained_error(made, now)] if made.untrained else []
        return torch.stack([shared_share(made, now), trained_error(made, now), *others])

    found = trajectory(flow, params, _times(domains, INIT, RACE_HORIZON, RACE_INTERVAL), measured, RACE_CHANGE)
    names = ("share", "left", "untrained")
    return {name: values.numpy() for name, values in zip(names, found.values[-1], strict=False)} | {"change": found.change}


def aligned_share(root: int, outputs: int) -> float:
    """The share that the reduced equations give the shared pathway where all strengths start at the init scale of `race`."""
    made = task(root, DOMAINS, outputs)
    known = correlations(made.graph, made.examples)
    start = torch.full((1, len(made.graph.edges), len(MODES)), INIT, dtype=torch.float64)
    flow = reduced_gradient(made.graph, known, made.bases)
    end = trajectory(
        flow, {"strength": start}, _times(DOMAINS, INIT, RACE_HORIZON, RACE_INTERVAL), lambda now: now["strength"], RACE_CHANGE
    ).params
    shared = torch.stack([path_strength(end["strength"], path) for path in made.shared])
    return float((shared * made.s).sum(dim=-1).mean() / made.s.square().sum())


def films(root: int, domains: int, outputs: int, start: float) -> xr.Dataset:
    """One network aligned and one as far off as its own size: the two ways of the first pair over time, beside the reduction."""
    film = beside_reduction(root, domains, outputs, start, (0.0, 1.0), 1)
    columns = {
        "film_time": ("step", film["time"]),
        "film_simulated": (("film", "step", "way", "mode"), film["simulated"][:, :, 0, film["ways"]]),
        "film_reduced": (("step", "way", "mode"), film["reduced"][:, 0, film["ways"]]),
    }
    return xr.Dataset(columns).assign_coords(film=["aligned", "unaligned"], way=["shared", "private"], mode=list(MODES))
