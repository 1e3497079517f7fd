"""The depths of the dynamics side by side: seconds a seed of full and projected networks, class-races a minute of the forms.

    python benchmarks/dynamics.py [--turns 3] [--threads 2] [--seeds 16] [--close 2] [--out FILE]

Every way takes its turn in one process, on the noise-free preset under root seed 0; medians, and ratios turn by turn with their
range. `full, close` is the full network under an error so small that it follows the exact flow about as closely as the
projected one does, which is measured as well. What it says: docs/dynamics.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from viewrace.claims.dynamics_depths import clean, exact
from viewrace.claims.lab import Bench, Role
from viewrace.config import Settings
from viewrace.presets import preset
from viewrace.race import MeanField, Projection, compete, lotka_volterra, run_mean_field
from viewrace.race.trajectory import run
from viewrace.train import train

CLOSE = {"train.error": 4e-8, "train.precision": "float64", "train.steps": 100_000}
PROJECTED_SEEDS = 96
RACES, COMPETITIONS = 200_000, 1_000_000
FULL, CLOSELY, PROJECTED = "full, as trained", "full, close", "projected"


def full(settings: Settings, seeds: int) -> Callable[[], int]:
    """Networks trained in all their weights; returns how many."""
    bench = Bench(settings, 0)
    generators = bench.generators(Role.MEMBER, 0, seeds)
    start, inputs = bench.family().init(generators), bench.examples.inputs

    def go() -> int:
        return len(train(bench.family(), {k: v.clone() for k, v in start.items()}, inputs, bench.hard_loss(), settings.train))

    return go


def projected(settings: Settings, seeds: int) -> Callable[[], int]:
    """The same networks in the span of the features; their set-up counts."""
    bench = Bench(settings, 0)
    weight = bench.family().init(bench.generators(Role.MEMBER, 0, seeds))["weight"]

    def go() -> int:
        projection = Projection(settings, bench.distribution)
        return len(run(projection, projection.correlations(weight), settings.train).done)

    return go


def forms(settings: Settings) -> dict[str, Callable[[], int]]:
    """The class-races by each form, from starts as the networks have them."""
    field, chance = MeanField.of(settings), torch.Generator().manual_seed(0)
    start = settings.net.init * torch.randn(RACES, settings.data.views, settings.net.width, generator=chance)
    tops = settings.net.init * torch.rand(COMPETITIONS, settings.data.views, generator=chance, dtype=torch.float64)
    rate = 1 + 0.1 * torch.rand(tops.shape, generator=chance, dtype=torch.float64)
    return {
        "mean field": lambda: len(run_mean_field(field, start)),
        "Lotka-Volterra": lambda: len(lotka_volterra(tops, rate)),
        "power form": lambda: len(compete(tops, rate, settings.net.q)),
    }


def middle(values: list[float]) -> str:
    return f"{statistics.median(values):.3g} [{min(values):.3g}, {max(values):.3g}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("--turns", 3), ("--threads", 2), ("--seeds", 16), ("--close", 2)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    settings = clean(preset())
    ways = {FULL: full(settings, asked.seeds), CLOSELY: full(settings.replace(**CLOSE), asked.close)}
    ways |= {PROJECTED: projected(settings, PROJECTED_SEEDS)} | forms(settings)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    loads = []
    for _ in range(asked.turns):
        for name, way in ways.items():
            loads.append(os.getloadavg()[0])
            start = time.perf_counter()
            count = way()
            seconds[name].append((time.perf_counter() - start) / count)
    found = {"threads": asked.threads, "turns": asked.turns, "load": [min(loads), max(loads)], "seconds": seconds}
    print(f"{asked.threads} threads, {asked.turns} turns, load {min(loads):.1f} to {max(loads):.1f}; median [least, most]")
    for name in (FULL, CLOSELY, PROJECTED):
        ratio = [a / b for a, b in zip(seconds[name], seconds[PROJECTED], strict=True)]
        print(f"{name}: {middle(seconds[name])} s a seed, {middle(ratio)} times the projected one's")
    for name in list(ways)[3:]:
        print(f"{name}: {middle([60e-6 / each for each in seconds[name]])} million class-races a minute")
    far = exact(Bench(settings.replace(**CLOSE), 0), 0)
    found["off"] = {CLOSELY: far["trained"], PROJECTED: far["deviation"]}
    print("largest difference from the exact flow, seed 0:", {name: f"{value:.2g}" for name, value in found["off"].items()})
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
