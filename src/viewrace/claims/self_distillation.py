"""Claim 4: a network taught by one like itself knows more than its teacher."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from viewrace import theory
from viewrace.claims.base import Claim, Scale
from viewrace.claims.lab import Bench, Lab, Networks, Role
from viewrace.claims.verdict import Check, Verdict, at_least, within
from viewrace.config import Settings
from viewrace.measure import Estimate, bootstrap, in_context_accuracy, margin
from viewrace.nets import Params
from viewrace.train import SoftLoss

__all__ = ["SelfDistillation"]

CHAINS = {Scale.SMOKE: 2, Scale.QUICK: 6, Scale.FULL: 20}
GENERATIONS = {Scale.SMOKE: 1, Scale.QUICK: 2, Scale.FULL: 5}
PROTOCOLS = ("cold", "warm")
GAIN = 0.10
NEAR = 0.10
BEYOND = 0.05
FALL = 0.05


class SelfDistillation(Claim):
    id = "self-distillation"
    title = "A network learns from its own kind"
    statement = "A self-distilled student covers at least what its teacher does, about 1 - (1 - 1/M)^2 after one round."
    source = "Allen-Zhu & Li, ICLR 2023, Theorem 4; generations as in Furlanello et al. 2018"
    protocol = (
        "Chains: a network trained on hard labels teaches a student, which teaches the next. `cold`: the student is fresh and "
        "has the soft labels from the start; `warm`: the same student is first trained on hard labels to the preset's "
        "stopping rule. The loss is cross-entropy plus AZL's truncated soft labels as the preset says (two-sided; saturated "
        "logits carry no gradient), for a fixed time on the gradient flow, chosen on root seed 0 (coverage goes on rising "
        f"slowly with it). Supported where the first round gains at least {GAIN} over its teacher, interval clear of 0, in "
        "both protocols, by margin at 0.1 and by single-view accuracy; the student's coverage is within "
        f"{NEAR} of the law; it gains at least {BEYOND} over its baseline, the same student on hard labels alone; and no "
        f"later generation falls more than {FALL} below the first. Chains per root seed: 2, 6, 20; generations 1, 2, 5."
    )
    by_root = True

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        rounds = min(GENERATIONS[scale], settings.self_distill.generations)
        return roots * CHAINS[scale] * (1.0 + 0.3 * rounds + rounds * len(PROTOCOLS) * 3.0)

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        parts = [_one_root(lab, lab.bench(root), scale).expand_dims(root=[root]) for root in lab.roots]
        return xr.concat(parts, dim="root")

    def judge(self, data: xr.Dataset) -> Verdict:
        generator, views = self._generator(data), int(data.attrs["views"])
        law = float(theory.self_distilled_coverage(views, 1))
        gained = law - theory.single_coverage(views)
        checks: list[Check] = []
        for protocol in PROTOCOLS:
            for name, label in (("margin", "margin 0.1"), ("in_context", "single-view accuracy")):
                chain = data[name].sel(protocol=protocol)
                gain = _estimate(chain.sel(generation=1) - chain.sel(generation=0), generator)
                checks.append(at_least(f"{protocol}, gain of one round, {label}", GAIN, gain, clear_of=0.0, law=gained))
        for protocol in PROTOCOLS:
            chain = data["margin"].sel(protocol=protocol)
            first = chain.sel(generation=1)
            checks.append(within(f"{protocol}, coverage after one round", law, _estimate(first, generator), NEAR))
            alone = _estimate(first - data["margin_baseline"], generator)
            checks.append(at_least(f"{protocol}, gain over hard labels alone", BEYOND, alone, clear_of=0.0))
            if chain.sizes["generation"] > 2:
                last = _estimate(chain.isel(generation=-1) - first, generator)
                checks.append(at_least(f"{protocol}, last generation minus the first", -FALL, last, clear_of=-2 * FALL))
        return self._verdict(data, checks, _curves(data, generator, views))


def _one_root(lab: Lab, bench: Bench, scale: Scale) -> xr.Dataset:
    count = CHAINS[scale]
    rounds = min(GENERATIONS[scale], bench.settings.self_distill.generations)
    alone = _alone(lab, bench, rounds, count)
    chains = {protocol: [lab.members(bench, count)] for protocol in PROTOCOLS}
    for generation in range(1, rounds + 1):
        teachers = [chain[-1] for chain in chains.values()]
        heirs = _heirs(lab, bench, teachers, alone[generation - 1].trained.params, generation)
        for protocol, heir in zip(PROTOCOLS, heirs, strict=True):
            chains[protocol].append(heir)
    tables: dict[str, list[Any]] = {"margin": [], "in_context": [], "outcome": []}
    for chain in chains.values():
        tables["margin"].append(np.stack([margin(heir.views.probes) for heir in chain]))
        tables["in_context"].append(np.stack([in_context_accuracy(heir.views.single, heir.views.labels) for heir in chain]))
        tables["outcome"].append(torch.stack([heir.trained.outcome for heir in chain]).numpy())
    dims = ("protocol", "generation", "chain")
    data = xr.Dataset({name: (dims, np.stack(values)) for name, values in tables.items()})
    data["margin_baseline"] = ("chain", margin(alone[0].views.probes))
    coords = {"protocol": list(PROTOCOLS), "generation": list(range(rounds + 1))}
    return data.assign_coords(coords).assign_attrs(views=bench.settings.data.views)


def _alone(lab: Lab, bench: Bench, rounds: int, count: int) -> list[Networks]:
    """The students of every generation on hard labels alone: the baseline, and where the warm protocol starts."""
    settings = bench.settings.self_distill
    inits = bench.generators(Role.HEIR, 0, rounds * count)
    family = bench.family(settings.width, settings.init)
    everyone = lab.train(bench, f"heirs-alone-{rounds}-{count}", family, inits, bench.hard_loss(), cost=0.3)
    return _shared_out(everyone, rounds)


def _heirs(lab: Lab, bench: Bench, teachers: list[Networks], warm: Params, generation: int) -> list[Networks]:
    """The students of one generation, cold and warm, each of its own teacher; together, since that is quicker."""
    settings, count = bench.settings.self_distill, len(teachers[0])
    soft = torch.cat([each.trained.logits(bench.examples.inputs) for each in teachers])
    loss = SoftLoss.from_config(settings, bench.examples.labels, soft)
    family = bench.family(settings.width, settings.init)
    cold = family.init(bench.generators(Role.HEIR, (generation - 1) * count, generation * count))
    init = {name: torch.cat([tensor, warm[name]]) for name, tensor in cold.items()}
    heirs = lab.train(bench, f"heirs-{generation}-{count}", family, init, loss, student=settings, cost=3.0)
    return _shared_out(heirs, len(teachers))


def _shared_out(networks: Networks, groups: int) -> list[Networks]:
    """The networks in groups of the same size, in their order."""
    size = len(networks) // groups
    return [networks.take(slice(at, at + size)) for at in range(0, len(networks), size)]


def _estimate(values: xr.DataArray, generator: np.random.Generator) -> Estimate:
    values = values.transpose("root", "chain")
    roots = np.broadcast_to(values["root"].values[:, None], values.shape)
    return bootstrap(values.values, generator, roots, unit="chains")


def _curves(data: xr.Dataset, generator: np.random.Generator, views: int) -> dict[str, list[float]]:
    generations = data["generation"].values
    curves: dict[str, list[float]] = {
        "generation": generations.tolist(),
        "predicted": theory.self_distilled_coverage(views, generations).tolist(),
    }
    for protocol in PROTOCOLS:
        for name in ("margin", "in_context"):
            chain = data[name].sel(protocol=protocol)
            points = [_estimate(chain.sel(generation=int(at)), generator) for at in generations]
            curves |= {
                f"{name}_{protocol}_estimate": [point.value for point in points],
                f"{name}_{protocol}_low": [point.low for point in points],
                f"{name}_{protocol}_high": [point.high for point in points],
            }
    return curves
