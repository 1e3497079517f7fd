"""The coordinate in which a race runs straight.

A neuron's correlation x (in units of rho) with a view grows as dx/dt = g(t) x^(q-1), and g is the same for every neuron of
one class and view. With w = -x^-(q-2) / (q - 2), or log x at q = 2, that is dw/dt = g: differences of w are conserved.
"""

from __future__ import annotations

from torch import Tensor

from viewrace.nets.activation import power

__all__ = ["correlation", "straight"]


def straight(x: Tensor, q: int) -> Tensor:
    """w of correlations x; -inf where x <= 0, which stay where they are."""
    base = x.clamp(min=0)
    return base.log() if q == 2 else power(base, q - 2).reciprocal() / -(q - 2)


def correlation(w: Tensor, q: int) -> Tensor:
    """x of w; 0 at -inf, NaN where w has passed the blow-up at 0."""
    if q == 2:
        return w.exp()
    u = w * -(q - 2)
    if q == 4:
        return u.rsqrt()
    if q == 3:
        return u.rsqrt().square_()
    return u.pow(-1 / (q - 2))
