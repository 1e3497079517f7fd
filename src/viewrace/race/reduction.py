"""The neural race reduction: a gated deep linear network as scalar equations in the strengths of its edges.

Derived from the gradient flow of race/gated.py (Saxe, Sodhani & Lewallen 2022, arXiv 2207.10430, state the same form). If one
basis serves each input node (V_v) and each output node (U_v), so that for all pathways

    Sigma_yx(p) = U diag(s_p) V^T   and   Sigma_x(j, p) = V_j diag(d_jp) V_p^T,

then W_e = R_target diag(b_e) R_source^T (R = V at inputs, U at outputs, any orthonormal frame at hidden nodes) keeps that
form, and mode by mode

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
from viewrace.race.gated import Correlations, Graph

__all__ = ["aligned_weights", "path_strength", "reduced_gradient"]

ALIGNED = 1e-6


def path_strength(strengths: Tensor, path: tuple[int, ...]) -> Tensor:
    """(seed, mode) product of the strengths (seed, edge, mode) on a pathway."""
    return strengths[:, list(path)].prod(dim=1)


def reduced_gradient(graph: Graph, known: Correlations, bases: Mapping[str, Tensor]) -> Callable[[Params], Params]:
    """The gradient by `strength` (seed, edge, mode); bases: (units, mode) of every input and output node.

    Raises ViewraceError where the correlations are not diagonal in the bases.
    """
    rates, powers = [], {}
    for p, path in enumerate(known.pathways):
        source, target = graph.ends(path)
        rates.append(_diagonal(bases[target], known.yx[p], bases[source]))
        for (j, mine), xx in known.xx.items():
            if mine == p:
                powers[j, p] = _diagonal(bases[graph.ends(known.pathways[j])[0]], xx, bases[source])

    def at(params: Params) -> Params:
        strengths = params["strength"]
        products = [path_strength(strengths, path) for path in known.pathways]
        found = torch.zeros_like(strengths)
        for p, path in enumerate(known.pathways):
            miss = rates[p] - sum(power * products[j] for (j, mine), power in powers.items() if mine == p)
            for edge in path:
                others = tuple(other for other in path if other != edge)
                found[:, edge] -= miss * (path_strength(strengths, others) if others else 1.0)
        return {"strength": found}

    return at


def _diagonal(left: Tensor, matrix: Tensor, right: Tensor) -> Tensor:
    seen = left.T @ matrix @ right
    values = seen.diagonal()
    off = float((matrix @ right - left * values).abs().amax())
    scale = float(matrix.abs().amax())
    if off > ALIGNED * max(scale, 1e-300):
        raise ViewraceError(
            f"correlations must be diagonal in the shared bases for the reduction, received one that misses it by {off:.2g} "
            f"against entries up to {scale:.2g}: whiten the inputs of every domain and give its singular vectors"
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
