"""Gated deep linear networks: a graph of linear maps through which each example takes the pathways its gates open.

Source: Saxe, Sodhani & Lewallen 2022, "The Neural Race Reduction: Dynamics of Abstraction in Gated Networks", ICML,
arXiv 2207.10430. The activity of node v is h_v = g_v sum over edges e into v of g_e W_e h_(source of e); the gates g belong to
the example, like its inputs and targets. So the output is a sum over pathways p of g_p W_p x, W_p the product of the
weights on p and g_p that of its gates. The loss is the mean over all examples of sum over outputs of |y - h|^2 / 2; with
Sigma_yx(p) = E[g_p y x^T] and Sigma_x(j, p) = E[g_j g_p x_j x_p^T], the mean over all examples, its gradient flow is

    dW_e/dt = sum over p through e of (W after e)^T E(p) (W before e)^T,   E(p) = Sigma_yx(p) - sum_j W_j Sigma_x(j, p),

j over the pathways that end where p does. How often a pathway is open is thus part of its correlations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from viewrace.errors import ViewraceError
from viewrace.nets import Params

__all__ = ["Correlations", "Examples", "Graph", "correlations", "forward", "path_map"]


@dataclass(frozen=True)
class Graph:
    """sizes: units of each node. edges: (source, target). Weights are `edge_i` (seed, target, source).

    Raises ViewraceError for an edge at a node without a size, and for a cycle.
    """

    sizes: Mapping[str, int]
    edges: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        unknown = sorted({node for edge in self.edges for node in edge} - set(self.sizes))
        if unknown:
            raise ViewraceError(f"every node of an edge must have a size, received none for {unknown[0]}: name it in sizes")
        _ = self.order  # refuses a cycle

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Nodes, each after those that lead to it."""
        waiting, found = list(self.sizes), list[str]()
        while waiting:
            held = {target for source, target in self.edges if source in waiting}
            if held.issuperset(waiting):
                raise ViewraceError(f"a gated network must have no cycle, received one among {', '.join(waiting)}: cut it")
            found += [node for node in waiting if node not in held]
            waiting = [node for node in waiting if node in held]
        return tuple(found)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Nodes that no edge leads to."""
        return tuple(node for node in self.sizes if all(target != node for _, target in self.edges))

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Nodes that no edge leaves."""
        return tuple(node for node in self.sizes if all(source != node for source, _ in self.edges))

    @cached_property
    def pathways(self) -> tuple[tuple[int, ...], ...]:
        """Every way from an input to an output, as the indices of its edges in order."""
        open_ends: list[tuple[int, ...]] = [(i,) for i, (source, _) in enumerate(self.edges) if source in self.inputs]
        found = []
        while open_ends:
            path = open_ends.pop()
            end = self.edges[path[-1]][1]
            onward = [i for i, (source, _) in enumerate(self.edges) if source == end]
            found += [path] if not onward else []
            open_ends += [(*path, i) for i in onward]
        return tuple(sorted(found))

    def ends(self, path: tuple[int, ...]) -> tuple[str, str]:
        """The input and the output that a pathway joins."""
        return self.edges[path[0]][0], self.edges[path[-1]][1]


@dataclass(frozen=True)
class Examples:
    """inputs, targets: (example, units) of each input and output node. gates: (example,) of nodes and of edges (keyed by
    their index); what is not named is always open."""

    inputs: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    gates: Mapping[str | int, Tensor]

    def gate(self, key: str | int) -> Tensor:
        """(example,) the gate of a node or an edge."""
        first = next(iter(self.inputs.values()))
        return self.gates.get(key, torch.ones(len(first), dtype=first.dtype))

    def path_gate(self, graph: Graph, path: tuple[int, ...]) -> Tensor:
        """(example,) the product of the gates of a pathway's nodes and edges."""
        gate = self.gate(graph.edges[path[0]][0])
        for edge in path:
            gate = gate * self.gate(edge) * self.gate(graph.edges[edge][1])
        return gate


@dataclass(frozen=True)
class Correlations:
    """Of the pathways that some example opens: yx[p] is Sigma_yx(p) (target, input), xx[j, p] is Sigma_x(j, p) (input of
    j, input of p), both over all examples; pairs of pathways that are never open together are left out."""

    pathways: tuple[tuple[int, ...], ...]
    yx: tuple[Tensor, ...]
    xx: dict[tuple[int, int], Tensor]


def correlations(graph: Graph, examples: Examples) -> Correlations:
    """What the gradient flow needs of the examples."""
    gates = {path: examples.path_gate(graph, path) for path in graph.pathways}
    pathways = tuple(path for path in graph.pathways if bool((gates[path] != 0).any()))
    yx, xx = [], {}
    for p, path in enumerate(pathways):
        source, target = graph.ends(path)
        seen = gates[path][:, None] * examples.inputs[source]
        yx.append(examples.targets[target].T @ seen / len(seen))
        for j, other in enumerate(pathways):
            if graph.ends(other)[1] == target and bool((gates[path] * gates[other] != 0).any()):
                xx[j, p] = (gates[other][:, None] * examples.inputs[graph.ends(other)[0]]).T @ seen / len(seen)
    return Correlations(pathways, tuple(yx), xx)


def forward(graph: Graph, params: Params, examples: Examples) -> dict[str, Tensor]:
    """(seed, example, units) activity of every output node, node by node, as the network is defined."""
    activity = {node: examples.gate(node)[:, None] * examples.inputs[node] for node in graph.inputs}
    for node in graph.order[len(activity) :]:
        arriving = [
            examples.gate(i)[:, None] * (activity[source] @ params[f"edge_{i}"].mT)
            for i, (source, target) in enumerate(graph.edges)
            if target == node
        ]
        activity[node] = examples.gate(node)[:, None] * torch.stack(arriving).sum(dim=0)
    return {node: activity[node] for node in graph.outputs}


def path_map(params: Params, path: tuple[int, ...]) -> Tensor:
    """(seed, output units, input units) the product W_p of the weights on a pathway."""
    product = params[f"edge_{path[0]}"]
    for edge in path[1:]:
        product = params[f"edge_{edge}"] @ product
    return product
