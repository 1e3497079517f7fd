"""The gradient flow of a gated network, from its correlations alone: pathways of one shape are multiplied together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from viewrace.nets import Params
from viewrace.race.gated import Correlations, Graph

__all__ = ["gradient"]


def gradient(graph: Graph, known: Correlations) -> Callable[[Params], Params]:
    """The gradient of the loss of race/gated.py, -dW_e/dt, edge by edge; no example is needed any more."""
    groups = [_Alike(known, members) for members in _by_shape(graph, known)]
    ties = [_tie(known, mine, theirs) for mine in groups for theirs in groups]

    def at(params: Params) -> Params:
        found: Params = {}
        made = [group.products(params) for group in groups]
        maps = [products[-1] for _, products in made]
        for n, group in enumerate(groups):
            excess = group.yx.neg().repeat(1, maps[n].shape[1], 1, 1)
            for other, (mine, theirs, xx) in zip(maps, ties[n * len(groups) :], strict=False):
                if len(mine):
                    excess.index_add_(0, mine, other[theirs] @ xx)
            group.spread(*made[n], excess, found)
        return {name: found[name] if name in found else torch.zeros_like(tensor) for name, tensor in params.items()}

    return at


class _Alike:
    """Pathways whose weights have the same shapes, as stacks (path, seed, target, source), one for each position."""

    def __init__(self, known: Correlations, members: Sequence[int]):
        self.members = tuple(members)
        positions = list(zip(*(known.pathways[p] for p in members), strict=True))
        self.edges = [sorted(set(position)) for position in positions]
        self.columns = [
            torch.tensor([edges.index(edge) for edge in position]) for edges, position in zip(self.edges, positions, strict=True)
        ]
        self.yx = torch.stack([known.yx[p] for p in members])[:, None]

    def products(self, params: Params) -> tuple[list[Tensor], list[Tensor]]:
        """The weights at every position, and the products of those from the input up to it."""
        stacks = [torch.stack([params[f"edge_{edge}"] for edge in edges]) for edges in self.edges]
        weights = [stack[column] for stack, column in zip(stacks, self.columns, strict=True)]
        return weights, list(accumulate(weights, lambda product, weight: weight @ product))

    def spread(self, weights: list[Tensor], products: list[Tensor], excess: Tensor, found: Params) -> None:
        """Add to `found`, edge by edge, the gradient from the excess -E (path, seed, output, input) of these pathways."""
        for position in reversed(range(len(weights))):
            term = excess @ products[position - 1].mT if position else excess
            each = term.new_zeros(len(self.edges[position]), *term.shape[1:])
            each.index_add_(0, self.columns[position], term)
            for edge, part in zip(self.edges[position], each.unbind(), strict=True):
                name = f"edge_{edge}"
                found[name] = found[name] + part if name in found else part
            excess = weights[position].mT @ excess if position else excess


def _by_shape(graph: Graph, known: Correlations) -> list[list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for p, path in enumerate(known.pathways):
        shape = (graph.sizes[graph.ends(path)[0]], *(graph.sizes[graph.edges[edge][1]] for edge in path))
        groups.setdefault(shape, []).append(p)
    return list(groups.values())


def _tie(known: Correlations, one: _Alike, other: _Alike) -> tuple[Tensor, Tensor, Tensor]:
    """Places of p in `one` and of j in `other` for the pathways that are open together, and Sigma_x(j, p)."""
    pairs = [(n, m) for n, p in enumerate(one.members) for m, j in enumerate(other.members) if (j, p) in known.xx]
    places = torch.tensor(pairs, dtype=torch.long).view(-1, 2)
    xx = [known.xx[other.members[m], one.members[n]] for n, m in pairs]
    return places[:, 0], places[:, 1], torch.stack(xx)[:, None] if xx else torch.empty(0)
