"""Claim 1: one network learns one view in M."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from viewrace import theory
from viewrace.claims.base import Claim, Scale
from viewrace.claims.lab import Bench, Lab, Networks, Role
from viewrace.claims.verdict import Verdict, within
from viewrace.config import Settings
from viewrace.measure import (
    MARGINS,
    Estimate,
    bootstrap,
    coverage,
    dominance,
    effective_rank,
    in_context_accuracy,
    learned,
    seed_diversity,
    surviving_views,
    winner,
)
from viewrace.train import Trace

__all__ = ["TOLERANCE", "SingleView", "measures"]

TOLERANCE = 0.05
"""Distance from the law within which a coverage counts as the law's."""

NETWORKS = {Scale.SMOKE: 20, Scale.QUICK: 80, Scale.FULL: 200}


class SingleView(Claim):
    id = "single-view"
    title = "One network learns one view"
    statement = "A network trained on hard labels learns one of the M views of each class: C(f) = 1/M."
    source = "Allen-Zhu & Li, ICLR 2023, Theorem 1 (M = 2); any M by symmetry"
    protocol = (
        "Networks that differ in their init alone, all trained together to the preset's stopping rule. Coverage by margin at "
        f"0.1 and accuracy on fresh single-view examples, each within {TOLERANCE} of 1/M with its whole 95% interval. Every "
        "network counts, whatever group it ended in. Networks per root seed: 20 (smoke), 80 (quick), 200 (full)."
    )
    by_root = True

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return roots * NETWORKS[scale] + 1

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        parts = []
        for root in lab.roots:
            networks = lab.members(lab.bench(root), NETWORKS[scale])
            parts.append(xr.Dataset(measures(networks)).expand_dims(root=[root]))
        data = xr.concat(parts, dim="root")
        return data.merge(_race_of_one(lab.bench(lab.roots[0]), lab))

    def judge(self, data: xr.Dataset) -> Verdict:
        views = data.sizes["view"]
        law, generator = theory.single_coverage(views), self._generator(data)
        roots = np.broadcast_to(data["root"].values[:, None], data["in_context"].shape)
        found = _summary(data, generator, roots)
        by_margin, by_context = found["coverage, margin 0.1"], found["accuracy on single-view examples"]
        checks = [
            within("coverage by margin 0.1", law, by_margin, TOLERANCE),
            within("accuracy on single-view examples", law, by_context, TOLERANCE),
        ]
        return self._verdict(data, checks, measures=found)


def measures(networks: Networks) -> dict[str, Any]:
    """Every measure of every network, as variables over seed (and fraction, label, view)."""
    probes, trained = networks.views.probes, networks.trained
    winners = winner(probes)
    return {
        "isolated": ("seed", coverage(probes)),
        "margin": (("seed", "fraction"), np.stack([coverage(probes, fraction) for fraction in MARGINS], axis=1)),
        "fraction": ("fraction", list(MARGINS)),
        "in_context": ("seed", in_context_accuracy(networks.views.single, networks.views.labels)),
        "learned": (("seed", "label", "view"), learned(probes, MARGINS[0]).numpy()),
        "winner": (("seed", "label"), winners),
        "dominance": ("seed", dominance(probes)),
        "effective_rank": ("seed", effective_rank(probes)),
        "surviving_views": ("seed", surviving_views(probes)),
        "seed_diversity": ("label", seed_diversity(winners, probes.shape[2])),
        "outcome": ("seed", trained.outcome.numpy()),
        "loss": ("seed", trained.loss.numpy()),
        "train_accuracy": ("seed", trained.right.numpy()),
        "evaluations": ("seed", trained.evaluations.numpy()),
    }


def _summary(data: xr.Dataset, generator: np.random.Generator, roots: np.ndarray) -> dict[str, Estimate]:
    """Every measure of single networks with its interval; seed diversity over classes, the others over networks."""
    found = {"coverage, isolated": bootstrap(data["isolated"].values, generator, roots)}
    for fraction in MARGINS:
        values = data["margin"].sel(fraction=fraction).values
        found[f"coverage, margin {fraction:g}"] = bootstrap(values, generator, roots)
    found["accuracy on single-view examples"] = bootstrap(data["in_context"].values, generator, roots)
    for name in ("dominance", "effective_rank", "surviving_views"):
        found[name.replace("_", " ")] = bootstrap(data[name].values, generator, roots)
    found["seed diversity"] = bootstrap(data["seed_diversity"].values, generator, unit="classes")
    return found


def _race_of_one(bench: Bench, lab: Lab) -> xr.Dataset:
    """The first network once more, filmed: correlation of each class with each of its views along training."""
    trace = Trace(bench.distribution.features)
    networks = lab.train(bench, "film", bench.family(), bench.generators(Role.MEMBER, 0, 1), bench.hard_loss(), trace=trace)
    scale = bench.settings.net.rho
    film = {
        "race_correlation": (("step", "label", "view"), trace.stacked().numpy() / scale),
        "race_time": ("step", np.asarray(trace.time)),
        "race_evaluations": ("step", np.asarray(trace.evaluations)),
        "race_loss": ("step", np.asarray(trace.loss)),
        "race_winner": ("label", winner(networks.views.probes)[0]),
    }
    return xr.Dataset(film)
