"""Seeds per second at the quick preset, beside a plain PyTorch loop over seeds, in one process and one run.

Two ratios, because they answer two questions. Per evaluation: the same gradients of the same networks on the same data,
batched closed form against autograd one seed at a time. To the stopping rule: the error-controlled flow on all seeds
against full-batch gradient descent with a fixed step, one seed at a time, under the same rule. Both sides take turns;
medians over the turns and their spread are printed, never a bound.

    python benchmarks/engine.py [--seeds 16] [--turns 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line does, before torch is imported

import torch
from torch import Tensor

from viewrace.claims.lab import Bench, Role
from viewrace.nets.activation import smoothed_relu
from viewrace.presets import preset
from viewrace.train import train
from viewrace.train.objective import Objective

FIXED_STEP = 50.0
MOST_STEPS = 20_000


def plain_logits(weight: Tensor, inputs: Tensor, q: int, rho: float) -> Tensor:
    """One patch network as one would write it."""
    return smoothed_relu(torch.einsum("kmd,npd->nkmp", weight, inputs), q, rho).sum(dim=(2, 3))


def loop_gradients(bench: Bench, weights: Tensor) -> None:
    """One gradient of every network, one after the other, by autograd."""
    net, examples = bench.settings.net, bench.examples
    for weight in weights:
        leaf = weight.clone().requires_grad_(True)
        logits = plain_logits(leaf, examples.inputs, net.q, net.rho)
        torch.nn.functional.cross_entropy(logits, examples.labels).backward()


def loop_training(bench: Bench, weights: Tensor) -> int:
    """Gradient descent with a fixed step on every network, one after the other; returns how many met the rule."""
    net, rule, examples = bench.settings.net, bench.settings.train, bench.examples
    done = 0
    for weight in weights:
        leaf = weight.clone().requires_grad_(True)
        descent = torch.optim.SGD([leaf], lr=FIXED_STEP)
        for _ in range(MOST_STEPS):
            logits = plain_logits(leaf, examples.inputs, net.q, net.rho)
            loss = torch.nn.functional.cross_entropy(logits, examples.labels)
            if loss.item() < rule.tolerance and bool((logits.argmax(dim=1) == examples.labels).all()):
                done += 1
                break
            descent.zero_grad()
            loss.backward()
            descent.step()
    return done


def clock(action: object) -> float:
    start = time.perf_counter()
    action()  # type: ignore[operator]
    return time.perf_counter() - start


def report(name: str, ours: list[float], peer: list[float], count: int, unit: str) -> None:
    ratios = sorted(p / o for o, p in zip(ours, peer, strict=True))
    print(f"{name}")
    for label, seconds in (("viewrace", ours), ("plain loop", peer)):
        rates = sorted(count / second for second in seconds)
        print(f"  {label:11s} {statistics.median(rates):8.2f} {unit}   [{rates[0]:.2f}, {rates[-1]:.2f}]")
    print(f"  ratio       {statistics.median(ratios):8.2f}   [{ratios[0]:.2f}, {ratios[-1]:.2f}], n = {len(ratios)} turns")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--turns", type=int, default=5)
    asked = parser.parse_args()
    bench = Bench(preset(), root=1)
    family, loss = bench.family(), bench.hard_loss()
    params = family.init(bench.generators(Role.MEMBER, 0, asked.seeds))
    objective, everyone = Objective(family, bench.examples.inputs, loss), torch.arange(asked.seeds)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {asked.seeds} seeds, quick preset, float32")
    objective.at(params, everyone)
    loop_gradients(bench, params["weight"])
    ours, peer = [], []
    for _ in range(asked.turns):
        ours.append(clock(lambda: [objective.at(params, everyone) for _ in range(10)]))
        peer.append(clock(lambda: [loop_gradients(bench, params["weight"]) for _ in range(10)]))
    report("gradient evaluations", ours, peer, 10 * asked.seeds, "per s")
    ours, peer, met = [], [], []
    for _ in range(asked.turns):
        ours.append(clock(lambda: train(family, params, bench.examples.inputs, loss, bench.settings.train)))
        peer.append(clock(lambda: met.append(loop_training(bench, params["weight"]))))
    report("training to the stopping rule", ours, peer, asked.seeds, "seeds per s")
    print(f"  the plain loop met the rule for {met[-1]} of {asked.seeds} seeds (step {FIXED_STEP:g}, at most {MOST_STEPS})")


if __name__ == "__main__":
    main()
