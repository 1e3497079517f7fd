"""The depths of the dynamics side by side: seconds a seed of full and projected networks, class-races a minute of the forms.

    python benchmarks/dynamics.py [--turns 5] [--cores 2] [--seeds 16] [--close 8] [--out FILE]

Every way takes its turn in one process, on the noise-free preset under root seed 0; medians, and ratios turn by turn with their
range. Networks run on one thread; races on a thread a core, block by block. Processor time is what a busy machine changes
least, so ratios are of that; wall time and the load are told beside. `full, close` is the full network under an error so small
that it follows the exact flow about as closely as the projected one does, which is measured as well: once, since it takes
minutes, and not at all with --close 0. What it says: docs/dynamics.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
RACES, COMPETITIONS, BLOCK = 196_608, 786_432, 8192
FULL, CLOSELY, PROJECTED = "full, as trained", "full, close", "projected"


Way = Callable[[], tuple[int, int]]
"""Does the work; returns how many networks or races that were, and the evaluations of one network, 0 for a race."""


def full(settings: Settings, seeds: int) -> Way:
    """Networks trained in all their weights."""
    bench = Bench(settings, 0)
    generators = bench.generators(Role.MEMBER, 0, seeds)
    start, inputs = bench.family().init(generators), bench.examples.inputs

    def go() -> tuple[int, int]:
        params = {name: tensor.clone() for name, tensor in start.items()}
        trained = train(bench.family(), params, inputs, bench.hard_loss(), settings.train)
        return seeds, int(trained.evaluations.double().mean())

    return go


def projected(settings: Settings, seeds: int) -> Way:
    """The same networks in the span of the features; their set-up counts."""
    bench = Bench(settings, 0)
    weight = bench.family().init(bench.generators(Role.MEMBER, 0, seeds))["weight"]

    def go() -> tuple[int, int]:
        projection = Projection(settings, bench.distribution)
        ran = run(projection, projection.correlations(weight), settings.train)
        return seeds, int(ran.evaluations.double().mean())

    return go


def forms(settings: Settings, cores: int) -> dict[str, Way]:
    """The class-races by each form, from starts as the networks have them."""
    field, chance = MeanField.of(settings), torch.Generator().manual_seed(0)
    start = settings.net.init * torch.randn(RACES, settings.data.views, settings.net.width, generator=chance)
    tops = settings.net.init * torch.rand(COMPETITIONS, settings.data.views, generator=chance, dtype=torch.float64)
    rate = 1 + 0.1 * torch.rand(tops.shape, generator=chance, dtype=torch.float64)
    solve = {
        "mean field": (lambda rows: run_mean_field(field, start[rows]), len(start)),
        "Lotka-Volterra": (lambda rows: lotka_volterra(tops[rows], rate[rows]), len(tops)),
        "power form": (lambda rows: compete(tops[rows], rate[rows], settings.net.q), len(tops)),
    }

    def spread(race: Callable[[slice], object], count: int) -> tuple[int, int]:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(race, [slice(first, first + BLOCK) for first in range(0, count, BLOCK)]))
        return count, 0

    return {name: partial(spread, *each) for name, each in solve.items()}


def middle(values: list[float]) -> str:
    return f"{statistics.median(values):.3g} [{min(values):.3g}, {max(values):.3g}]"


def timed(way: Way) -> dict[str, float]:
    """Seconds of processor and of the clock for one network or race, with the load before."""
    load, start, spent = os.getloadavg()[0], time.perf_counter(), time.process_time()
    count, evaluations = way()
    seconds = {"processor": (time.process_time() - spent) / count, "wall": (time.perf_counter() - start) / count}
    return seconds | {"evaluations": evaluations, "load": load}


def networks(found: dict[str, list[dict[str, float]]]) -> None:
    """Print what a network takes by each way that was run, and how many times the projected one that is."""
    base = [each["processor"] for each in found[PROJECTED]]
    for name in (FULL, PROJECTED, CLOSELY):
        if found.get(name):
            times = [each["processor"] for each in found[name]]
            ratio = [spent / one for spent, one in zip(times, base, strict=False)]
            clock, evaluations = middle([each["wall"] for each in found[name]]), found[name][0]["evaluations"]
            print(f"{name}, {evaluations:.0f} evaluations: {middle(times)} s of processor a seed, {clock} s by the clock,")
            print(f"    {middle(ratio)} times the projected one's")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("--turns", 5), ("--cores", 2), ("--seeds", 16), ("--close", 8)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    settings = clean(preset())
    races = forms(settings, asked.cores)
    ways = {FULL: full(settings, asked.seeds), PROJECTED: projected(settings, PROJECTED_SEEDS)} | races
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(asked.turns):
        for name, way in ways.items():
            found[name].append(timed(way))
    if asked.close:
        found[CLOSELY] = [timed(full(settings.replace(**CLOSE), asked.close))]
    loads = [each["load"] for times in found.values() for each in times]
    print(f"{asked.turns} turns, load {min(loads):.1f} to {max(loads):.1f}; median [least, most]")
    networks(found)
    for name in races:
        both = ([60e-6 * asked.cores / each["processor"] for each in found[name]], [60e-6 / each["wall"] for each in found[name]])
        print(f"{name}: {middle(both[0])} million class-races a minute of {asked.cores} cores, {middle(both[1])} by the clock")
    off = {}
    if asked.close:
        far = exact(Bench(settings.replace(**CLOSE), 0), 0)
        off = {CLOSELY: far["trained"], PROJECTED: far["deviation"]}
        print("largest difference from the exact flow, seed 0:", {name: f"{value:.2g}" for name, value in off.items()})
    if asked.out:
        asked.out.write_text(json.dumps({"asked": vars(asked) | {"out": None}, "found": found, "off": off}), encoding="utf-8")


if __name__ == "__main__":
    main()
