"""Deep linear networks: the singular modes follow the closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from viewrace.claims.base import Claim, Scale
from viewrace.claims.lab import Lab, Role
from viewrace.claims.verdict import Verdict, at_most
from viewrace.config import Settings
from viewrace.measure import Estimate, bootstrap
from viewrace.nets import DeepLinear, Params
from viewrace.race.linear import (
    Modes,
    aligned_init,
    early_strength,
    escape_time,
    mode_strengths,
    modes_of,
    squared_error_gradient,
    strength,
)
from viewrace.race.rungekutta import trajectory
from viewrace.streams import Stream, torch_generator

__all__ = ["DeepLinearModes", "task"]

NETWORKS = {Scale.SMOKE: 4, Scale.QUICK: 20, Scale.FULL: 100}
TOLERANCE = 0.01
STEP_CHANGE = 1e-4
DIM, EXAMPLES, UNITS = 16, 64, 24
CORRELATIONS = (1.0, 0.8, 0.6, 0.4, 0.3)
POWERS = (0.5, 2.0)
STARTS = (0.1, 0.2)
LAYERS = (2, 3, 4)
INPUTS = ("whitened", "given")
INITS = (0.001, 0.01, 0.03, 0.1)
WIDTHS = (8, 32, 128)
FILMED = (32, 0.01)
TIMES, LEARNED = 201, 0.999


class DeepLinearModes(Claim):
    id = "deep-linear"
    title = "Deep linear networks in closed form"
    statement = (
        "Under squared error the singular modes of a deep linear network follow the closed form, each a logistic of its own."
    )
    source = "Saxe, McClelland & Ganguli 2014, arXiv 1312.6120; docs/linear.md"
    by_default = False
    by_root = True
    protocol = (
        f"Its own task, whatever the settings: {EXAMPLES} examples of {DIM} inputs and {len(CORRELATIONS)} targets with modes of "
        f"correlation {', '.join(f'{s:g}' for s in CORRELATIONS)}, inputs whitened or with second moments uniform in "
        f"{POWERS}. All weights of networks of 2, 3 and 4 layers are trained on the examples by the gradient flow in float64, "
        f"with the step halved until no mode changes by more than {STEP_CHANGE:g}. Aligned starts: w = a^(1/layers) uniform in "
        f"{STARTS}, the same for all modes, random hidden bases. Deviation: the largest over modes and times, relative to "
        f"the mode's final strength. Supported where its mean over networks is at most {TOLERANCE} with its whole interval, at "
        "every number of layers. Random inits are a measure. Networks per root seed and condition: 4, 20, 100."
    )

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return float(roots * (len(LAYERS) * len(INPUTS) + len(INITS) * len(WIDTHS)))

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        parts = [_one_root(lab, root, NETWORKS[scale]).expand_dims(root=[root]) for root in lab.roots]
        data = xr.concat(parts, dim="root")
        return data.merge(_film(lab.roots[0]))

    def judge(self, data: xr.Dataset) -> Verdict:
        generator = self._generator(data)
        found = {layers: _estimate(data["deviation"].sel(layers=layers), generator) for layers in LAYERS}
        checks = [at_most(f"deviation from {_law(layers)}, {layers} layers", TOLERANCE, found[layers]) for layers in LAYERS]
        curves: dict[str, list[float]] = {"init": list(INITS)}
        measures: dict[str, Estimate] = {}
        for width in WIDTHS:
            points = [_estimate(data["deviation_random"].sel(width=width, init=init), generator) for init in INITS]
            curves |= {
                f"width_{width}_estimate": [point.value for point in points],
                f"width_{width}_low": [point.low for point in points],
                f"width_{width}_high": [point.high for point in points],
            }
            measures |= {
                f"deviation from random init {init:g}, width {width}": point for init, point in zip(INITS, points, strict=True)
            }
        return self._verdict(data, checks, curves, measures)


def task(root: int, whitened: bool) -> tuple[Tensor, Tensor, Modes]:
    """Inputs (example, dim) and targets (example, class) with modes of exactly these correlations, and the modes."""
    generator = torch_generator(root, Stream.FEATURES, int(Role.LINEAR))
    draws = [torch.randn(size, DIM, generator=generator, dtype=torch.float64) for size in (EXAMPLES, DIM)]
    scores, right = (torch.linalg.qr(draw).Q for draw in draws)
    classes = len(CORRELATIONS)
    left = torch.linalg.qr(torch.randn(classes, classes, generator=generator, dtype=torch.float64)).Q
    low, high = POWERS
    power = low + (high - low) * torch.rand(DIM, generator=generator, dtype=torch.float64)
    power = torch.ones_like(power) if whitened else power
    inputs = EXAMPLES**0.5 * (scores * power.sqrt()) @ right.T
    final = torch.tensor(CORRELATIONS, dtype=torch.float64) / power[:classes]
    targets = inputs @ (right[:, :classes] * final) @ left.T
    return inputs, targets, modes_of(inputs, targets)


def _one_root(lab: Lab, root: int, count: int) -> xr.Dataset:
    aligned = np.zeros((len(LAYERS), len(INPUTS), count))
    change, substeps = np.zeros(aligned.shape[:2]), np.zeros(aligned.shape[:2], dtype=int)
    for i, layers in enumerate(LAYERS):
        for j, kind in enumerate(INPUTS):
            simulated = _simulate(root, kind == "whitened", *_aligned(root, kind == "whitened", layers, count))
            aligned[i, j], change[i, j], substeps[i, j] = simulated["deviation"], simulated["change"], simulated["substeps"]
            lab.progress(1.0)
    random = np.zeros((len(WIDTHS), len(INITS), count))
    for i, width in enumerate(WIDTHS):
        for j, init in enumerate(INITS):
            random[i, j] = _simulate(root, False, *_random(root, width, init, count))["deviation"]
            lab.progress(1.0)
    return xr.Dataset(
        {
            "deviation": (("layers", "inputs", "seed"), aligned),
            "step_change": (("layers", "inputs"), change),
            "substeps": (("layers", "inputs"), substeps),
            "deviation_random": (("width", "init", "seed"), random),
        },
        coords={"layers": list(LAYERS), "inputs": list(INPUTS), "width": list(WIDTHS), "init": list(INITS)},
    )


def _generators(root: int, *indices: int, count: int) -> list[torch.Generator]:
    return [torch_generator(root, Stream.INIT, int(Role.LINEAR), *indices, seed) for seed in range(count)]


def _aligned(root: int, whitened: bool, layers: int, count: int) -> tuple[Params, Tensor]:
    """Weights that start aligned, and the strengths (seed, mode) they start from."""
    modes, generators = task(root, whitened)[2], _generators(root, 0, layers, int(whitened), count=count)
    low, high = STARTS
    weight = torch.stack([low + (high - low) * torch.rand(1, generator=g, dtype=torch.float64) for g in generators])
    start = weight.expand(-1, len(modes.s)) ** layers
    return aligned_init(modes, start, (UNITS,) * (layers - 1), generators), start


def _random(root: int, width: int, init: float, count: int) -> tuple[Params, Tensor]:
    """Weights of the family at that init scale, and the early strengths (seed, mode) they have."""
    modes, family = task(root, False)[2], DeepLinear(len(CORRELATIONS), DIM, 1, (width,), init)
    drawn = family.init(_generators(root, 1, width, count=count))
    params = {name: tensor.double() for name, tensor in drawn.items()}
    return params, early_strength(params, modes)


def _simulate(root: int, whitened: bool, params: Params, start: Tensor) -> dict[str, Any]:
    """Networks trained from `params` and the closed form from `start` (seed, mode), at the same times."""
    inputs, targets, modes = task(root, whitened)
    layers = len(params)
    family = DeepLinear(len(CORRELATIONS), DIM, 1, (1,) * (layers - 1), 1.0)
    slowest = zip(start.amin(dim=0).tolist(), modes.s.tolist(), modes.power.tolist(), strict=True)
    end = max(escape_time(*mode, layers, LEARNED) for mode in slowest)
    times = torch.linspace(0, end, TIMES, dtype=torch.float64)
    gradient = squared_error_gradient(family, inputs, targets)
    found = trajectory(gradient, params, times, lambda now: mode_strengths(now, modes), STEP_CHANGE)
    law = [strength(times.numpy(), row.numpy(), modes.s.numpy(), modes.power.numpy(), layers) for row in start]
    predicted, final = np.stack(law, axis=1), modes.final.numpy()
    deviation = (np.abs(found.values.numpy() - predicted) / final).max(axis=(0, 2))
    return {
        "time": times.numpy(),
        "simulated": found.values.numpy() / final,
        "predicted": predicted / final,
        "deviation": deviation,
        "change": found.change,
        "substeps": found.substeps,
    }


def _film(root: int) -> xr.Dataset:
    """The first network aligned and from a random init, strengths relative to the final ones."""
    columns: dict[str, Any] = {}
    for name, start in (("aligned", _aligned(root, False, 2, 1)), ("random", _random(root, *FILMED, 1))):
        film = _simulate(root, False, *start)
        columns[f"{name}_time"] = ("step", film["time"])
        for kind in ("simulated", "predicted"):
            columns[f"{name}_{kind}"] = (("step", "mode"), film[kind][:, 0])
    return xr.Dataset(columns).assign_coords(mode=list(CORRELATIONS))


def _law(layers: int) -> str:
    return "the logistic" if layers == 2 else "the scalar equation"


def _estimate(values: xr.DataArray, generator: np.random.Generator) -> Estimate:
    values = values.transpose("root", ...)
    roots = np.broadcast_to(values["root"].values.reshape(-1, *(1,) * (values.ndim - 1)), values.shape)
    return bootstrap(values.values, generator, roots)
