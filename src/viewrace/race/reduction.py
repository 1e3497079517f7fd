"""The neural race reduction: a gated deep linear network as scalar equations in the strengths of its edges.

Derived from the gradient flow of race/gated.py (Saxe, Sodhani & Lewallen 2022, arXiv 2207.10430, state the same form). If one
basis serves each input node (V_v) and each output node (U_v), so that for all pathways

    Sigma_yx(p) = U diag(s_p) V^T   and   Sigma_x(j, p) = V_j diag(d_jp) V_p^T,

then W_e = R_target diag(b_e) R_source^T (R = V at inputs, U at outputs, any orthonormal frame at hidden nodes) keeps that
form, and mode by mode (docs/linear.md, step by step)

    db_e/dt = sum over p through e of [ (s_p - sum_j d_jp prod(b on j)) times the product of b over the other edges of p ].

s_p and d_jp are means over all examples: a pathway that is open on a share pi of them has s_p = pi s. An edge shared by n such
pathways is pushed by n terms, a private one by one: its correlation is in effect n times larger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from viewrace.errors import ViewraceError
from viewrace.nets import Params
from viewrace.race.gated import Correlations, Graph, path_map

__all__ = ["aligned_weights", "path_strength", "pathway_strengths", "reduced_gradient"]

ALIGNED = 1e-6


def path_strength(strengths: Tensor, path: tuple[int, ...]) -> Tensor:
    """(seed, mode) product of the strengths (seed, edge, mode) on a pathway."""
    return strengths[:, list(path)].prod(dim=1)


def pathway_strengths(graph: Graph, known: Correlations, bases: Mapping[str, Tensor], params: Params) -> Tensor:
    """(seed, path, mode) u^T W_p v of a network's pathways, which the products of the reduced strengths stand for."""
    found = []
    for path in known.pathways:
        source, target = graph.ends(path)
        found.append(((bases[target].T @ path_map(params, path)) * bases[source].T).sum(dim=2))
    return torch.stack(found, dim=1)


def reduced_gradient(graph: Graph, known: Correlations, bases: Mapping[str, Tensor]) -> Callable[[Params], Params]:
    """The gradient by `strength` (seed, edge, mode); bases: (units, mode) of every input and output node.

    Raises ViewraceError where the correlations are not diagonal in the bases.
    """
    ends = [(bases[source], bases[target]) for source, target in map(graph.ends, known.pathways)]
    most = max(float(yx.abs().amax()) for yx in known.yx)
    rate = torch.stack([_diagonal(end, yx, start, most) for (start, end), yx in zip(ends, known.yx, strict=True)])
    most = max(float(xx.abs().amax()) for xx in known.xx.values())
    powers = torch.stack([_diagonal(ends[j][0], xx, ends[p][0], most) for (j, p), xx in known.xx.items()])
    theirs, mine = torch.tensor(list(known.xx)).T
    longest, unit = max(map(len, known.pathways)), len(graph.edges)
    ways = torch.tensor([(*path, *(unit,) * (longest - len(path))) for path in known.pathways])

    def at(params: Params) -> Params:
        strengths = params["strength"]
        padded = torch.cat([strengths, torch.ones_like(strengths[:, :1])], dim=1)
        each = padded[:, ways]
        products = each.prod(dim=2)
        miss = rate - torch.zeros_like(products).index_add(1, mine, powers * products[:, theirs])
        found = torch.zeros_like(padded)
        for position in range(longest):
            others = torch.cat([each[:, :, :position], each[:, :, position + 1 :]], dim=2).prod(dim=2)
            found.index_add_(1, ways[:, position], miss * others, alpha=-1)
        return {"strength": found[:, :-1]}

    return at


def _diagonal(left: Tensor, matrix: Tensor, right: Tensor, most: float) -> Tensor:
    values = (left.T @ matrix @ right).diagonal()
    off = max(float((matrix @ right - left * values).abs().amax()), float((matrix.T @ left - right * values).abs().amax()))
    if off > ALIGNED * most:
        raise ViewraceError(
            f"correlations must be diagonal in the shared bases for the reduction, received one that misses it by {off:.2g} "
            f"against entries up to {most:.2g}: whiten the inputs of every domain and give its singular vectors"
        )
    return values


def aligned_weights(
    graph: Graph, bases: Mapping[str, Tensor], strengths: Tensor, generators: Sequence[torch.Generator]
) -> Params:
    """Weights R_target diag(b_e) R_source^T for strengths (seed, edge, mode), hidden frames drawn for each seed."""
    seeds, _, modes = strengths.shape
    frames = {node: basis.expand(seeds, -1, -1) for node, basis in bases.items()}
    for node, units in graph.sizes.items():
        if node not in frames:
            if units < modes:
                raise ViewraceError(f"node {node} must have a unit for each of {modes} modes, received {units}: widen it")
            draws = [torch.randn(units, modes, generator=generator, dtype=torch.float64) for generator in generators]
            frames[node] = torch.linalg.qr(torch.stack(draws)).Q
    return {
        f"edge_{i}": (frames[target] * strengths[:, i, None, :]) @ frames[source].mT
        for i, (source, target) in enumerate(graph.edges)
    }
