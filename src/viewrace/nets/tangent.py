"""The tangent of a network at its init: the network linearised in its weights, and its kernel.

f(x; w) is taken as f(x; w0) + J(x) (w - w0), J(x) = df(x; w0)/dw. Features J(x) are those of the init and never change, so a
linearised network learns none. Their inner products are the empirical, finite-width neural tangent kernel (Jacot, Gabriel &
Hongler 2018).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from viewrace.errors import ViewraceError

__all__ = ["Linearised", "jacobian", "kernel_ridge", "tangent_kernel"]

BLOCK = 250
"""Examples whose Jacobian is held at once, to bound memory."""


class Linearised(nn.Module):
    """A network linearised at the weights that it comes with; what is trained is w - w0, which starts at 0.

    The network's own weights stay as they were drawn. Its value and its directional derivative are one forward pass
    (torch.func.jvp), so the Jacobian is never formed. A network with buffers is refused: what they hold is not a function of the
    weights.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        _check(net)
        self.names = _trained(net)
        self.net = net.requires_grad_(False)
        weights = dict(net.named_parameters())
        self.moved = nn.ParameterList(torch.zeros_like(weights[name]) for name in self.names)

    def forward(self, inputs: Tensor) -> Tensor:
        weights = dict(self.net.named_parameters())
        start = {name: weights[name] for name in self.names}
        moved = dict(zip(self.names, self.moved, strict=True))

        def said(at: dict[str, Tensor]) -> Tensor:
            return torch.func.functional_call(self.net, at, (inputs,))

        value, change = torch.func.jvp(said, (start,), (moved,))[:2]
        return value + change


def jacobian(net: nn.Module, inputs: Tensor) -> Tensor:
    """(example, class, weight) derivative of each logit by all trained weights, flattened in their order; by torch.func.

    inputs: (example, ...), each looked at by itself.
    """
    _check(net)
    weights = {name: dict(net.named_parameters())[name].detach() for name in _trained(net)}

    def one(at: dict[str, Tensor], example: Tensor) -> Tensor:
        return torch.func.functional_call(net, at, (example[None],))[0]

    slopes = torch.func.vmap(torch.func.jacrev(one), in_dims=(None, 0))(weights, inputs)
    return torch.cat([slopes[name].flatten(2) for name in weights], dim=2)


def tangent_kernel(net: nn.Module, first: Tensor, second: Tensor | None = None) -> Tensor:
    """(example, other example) mean over classes of <J_c(x), J_c(x')>: one kernel for all logits.

    first, second: inputs (example, ...); `second` defaults to `first`.
    """
    basis = jacobian(net, first if second is None else second)
    parts = []
    for part in first.split(BLOCK):
        parts.append(torch.einsum("icw,jcw->ij", jacobian(net, part), basis) / basis.shape[1])
    return torch.cat(parts)


def kernel_ridge(kernel: Tensor, targets: Tensor, ridge: float) -> Tensor:
    """(example, class) coefficients c with (kernel + ridge mean(diag) 1) c = targets; what is said elsewhere is k(x, .) c.

    kernel: (example, example), symmetric. ridge: above 0, in units of the mean of the kernel's diagonal.
    """
    if ridge <= 0:
        raise ViewraceError(f"the ridge must be above 0, received {ridge:g}: raise it")
    damped = kernel + ridge * kernel.diagonal().mean() * torch.eye(len(kernel), dtype=kernel.dtype)
    return torch.cholesky_solve(targets, torch.linalg.cholesky(damped))


def _trained(net: nn.Module) -> list[str]:
    return [name for name, weight in net.named_parameters() if weight.requires_grad]


def _check(net: nn.Module) -> None:
    if any(True for _ in net.buffers()) or not _trained(net):
        found = "some" if _trained(net) else "no weight that is trained"
        raise ViewraceError(
            f"a network to linearise must have trained weights and no buffers, received one with {found}: take one without "
            "batch norm, or train its weights"
        )
