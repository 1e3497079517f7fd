"""The routing task: inputs and outputs in domains, some pairs of which are trained, and two kinds of ways between them.

After the routing task of Saxe, Sodhani & Lewallen 2022 (arXiv 2207.10430). Every example has one input domain i and one output
domain o; its target is U_o diag(s) V_i^T x, so all pairs share their singular values. The shared way in_i -> a -> b -> out_o
has an encoder for each input domain, a decoder for each output domain and one middle edge for all; the private way
in_i -> p_i-o -> q_i-o -> out_o of a pair has three edges of its own. Both are open on all examples of their pair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from viewrace.errors import ViewraceError
from viewrace.nets import Params
from viewrace.race.gated import Examples, Graph, path_map

__all__ = ["Routing", "fair_lead", "random_init", "routing", "shared_share", "trained_error", "untrained_error"]


@dataclass(frozen=True)
class Routing:
    """pairs: the trained (input, output) domains. bases: (units, mode) of each input and output node. shared, private: the
    edges of each trained pair's two pathways; untrained: those of the shared pathway of the other pairs."""

    graph: Graph
    examples: Examples
    pairs: tuple[tuple[int, int], ...]
    bases: dict[str, Tensor]
    s: Tensor
    shared: tuple[tuple[int, ...], ...]
    private: tuple[tuple[int, ...], ...]
    untrained: tuple[tuple[int, ...], ...]

    def target(self, path: tuple[int, ...]) -> Tensor:
        """(output units, input units) the map U diag(s) V^T that a pathway's ends should be joined by."""
        source, end = self.graph.ends(path)
        return (self.bases[end] * self.s) @ self.bases[source].T


def routing(domains: int, outputs: int, s: Tensor, units: int, hidden: int, count: int, generator: torch.Generator) -> Routing:
    """`domains` input and output domains; input domain i is trained with output domains i, .., i + outputs - 1 (cyclic).

    s: (mode,) singular values. units: of every domain. hidden: of every other node. count: examples of a pair, exactly white
    in its input domain. Raises ViewraceError for outputs outside 1..domains, and for too few units or examples.
    """
    if not 1 <= outputs <= domains or not len(s) <= units <= count:
        raise ViewraceError(
            f"routing needs 1 <= outputs <= domains and modes <= units <= examples of a pair, received {outputs} outputs, "
            f"{domains} domains, {len(s)} modes, {units} units, {count} examples: change what is out of order"
        )
    pairs = tuple((i, (i + shift) % domains) for i in range(domains) for shift in range(outputs))
    ends = [f"{side}{i}" for side in ("in", "out") for i in range(domains)]
    bases = {node: _frame(units, len(s), generator) for node in ends}
    sizes = dict.fromkeys(ends, units) | {"a": hidden, "b": hidden} | {f"{n}{i}-{o}": hidden for i, o in pairs for n in "pq"}
    edges = [(f"in{i}", "a") for i in range(domains)] + [("a", "b")] + [("b", f"out{i}") for i in range(domains)]
    for i, o in pairs:
        edges += [(f"in{i}", f"p{i}-{o}"), (f"p{i}-{o}", f"q{i}-{o}"), (f"q{i}-{o}", f"out{o}")]
    graph = Graph(sizes, tuple(edges))
    examples = _examples(pairs, bases, s, units, count, generator)

    def joined(pair: tuple[int, int]) -> tuple[int, ...]:
        return pair[0], domains, domains + 1 + pair[1]

    first = 2 * domains + 1
    private = tuple((first + 3 * n, first + 3 * n + 1, first + 3 * n + 2) for n in range(len(pairs)))
    others = [(i, o) for i in range(domains) for o in range(domains) if (i, o) not in pairs]
    return Routing(graph, examples, pairs, bases, s, tuple(map(joined, pairs)), private, tuple(map(joined, others)))


def _frame(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    return torch.linalg.qr(torch.randn(rows, columns, generator=generator, dtype=torch.float64)).Q


def _examples(
    pairs: tuple[tuple[int, int], ...], bases: dict[str, Tensor], s: Tensor, units: int, count: int, generator: torch.Generator
) -> Examples:
    total = count * len(pairs)
    values = {node: torch.zeros(total, units, dtype=torch.float64) for node in bases}
    gates: dict[str | int, Tensor] = {node: torch.zeros(total, dtype=torch.float64) for node in bases}
    for n, (i, o) in enumerate(pairs):
        rows = slice(n * count, (n + 1) * count)
        values[f"in{i}"][rows] = count**0.5 * _frame(count, units, generator)
        values[f"out{o}"][rows] = values[f"in{i}"][rows] @ ((bases[f"out{o}"] * s) @ bases[f"in{i}"].T).T
        own = torch.zeros(total, dtype=torch.float64)
        own[rows] = 1
        for node in (f"in{i}", f"out{o}"):
            gates[node] = gates[node] + own
        gates |= {f"p{i}-{o}": own, f"q{i}-{o}": own}
    inputs, targets = ({node: value for node, value in values.items() if node.startswith(side)} for side in ("in", "out"))
    return Examples(inputs, targets, gates)


def random_init(task: Routing, init: float, lead: float, generators: Sequence[torch.Generator]) -> Params:
    """Weights N(0, init^2 / in), those of the private pathways `lead` times larger; one generator a seed."""
    private = {edge for path in task.private for edge in path}
    params: Params = {}
    for i, (source, target) in enumerate(task.graph.edges):
        fan_out, fan_in = task.graph.sizes[target], task.graph.sizes[source]
        draws = [torch.randn(fan_out, fan_in, generator=generator, dtype=torch.float64) for generator in generators]
        params[f"edge_{i}"] = torch.stack(draws) * (init * (lead if i in private else 1.0) / math.sqrt(fan_in))
    return params


def fair_lead(domains: int, outputs: int) -> float:
    """How many times stronger private pathways must start to draw the race, from small aligned starts, otherwise equal.

    Shared encoders and decoders a and the middle m obey da/dt = K c m a, dm/dt = D K c a^2, private edges db/dt = c b^2, with K
    outputs of D domains and one c for all; the times at which they blow up are equal for a lead of
    K sqrt(D - 1) / arctan sqrt(D - 1): docs/linear.md.
    """
    spread = math.sqrt(domains - 1)
    return outputs * (spread / math.atan(spread) if spread else 1.0)


def shared_share(task: Routing, params: Params) -> Tensor:
    """(seed,) how much of the target map the shared pathway gives, <W_shared, T> / |T|^2, mean over trained pairs."""
    shares = [(path_map(params, path) * task.target(path)).sum(dim=(1, 2)) / task.s.square().sum() for path in task.shared]
    return torch.stack(shares).mean(dim=0)


def trained_error(task: Routing, params: Params) -> Tensor:
    """(seed,) |W_shared + W_private - T|^2 / |T|^2, mean over trained pairs: what is left to learn."""
    pairs = zip(task.shared, task.private, strict=True)
    return _error(task, [(path_map(params, shared) + path_map(params, private), shared) for shared, private in pairs])


def untrained_error(task: Routing, params: Params) -> Tensor:
    """(seed,) |W_shared - T|^2 / |T|^2 on the pairs never trained, mean over them; 0 is perfect, 1 is knowing nothing.

    Raises ViewraceError where every pair is trained.
    """
    if not task.untrained:
        raise ViewraceError(f"an untrained error needs a pair that is not trained, received all {len(task.pairs)}: lower outputs")
    return _error(task, [(path_map(params, path), path) for path in task.untrained])


def _error(task: Routing, maps: list[tuple[Tensor, tuple[int, ...]]]) -> Tensor:
    missed = [(made - task.target(path)).square().sum(dim=(1, 2)) / task.s.square().sum() for made, path in maps]
    return torch.stack(missed).mean(dim=0)
