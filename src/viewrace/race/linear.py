"""Deep linear networks in closed form: how strong each singular mode is at each time.

Source: Saxe, McClelland & Ganguli 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
networks", arXiv 1312.6120. The loss is half the squared error, averaged over examples, and the time is that of its gradient
flow dw/dt = -dLoss/dw: the paper's t / tau, with a loss summed over P examples and tau = 1 / (P rate) there.

With Sigma_yx = E[y x^T] = U diag(s) V^T, Sigma_xx = E[x x^T] = V diag(lambda) V^T and weights W_l = R_(l+1) diag(w_l) R_l^T
(R_0 = V, R_D = U, orthonormal columns between), the flow keeps that form and the modes do not see one another:

    dw_l/dt = (s - lambda a) prod_(k != l) w_k,   a = prod_l w_l,

so w_k^2 - w_l^2 is conserved; where it is 0 ("balanced"), da/dt = D a^(2 - 2/D) (s - lambda a), D the number of layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import quad, solve_ivp
from torch import Tensor

from viewrace.errors import ViewraceError
from viewrace.nets import DeepLinear, Params

__all__ = [
    "Modes",
    "aligned_init",
    "early_strength",
    "escape_time",
    "logistic",
    "mode_strengths",
    "modes_of",
    "settled_strength",
    "squared_error_gradient",
    "strength",
]

Array = NDArray[np.float64]
ACCURACY = 1e-10


@dataclass(frozen=True)
class Modes:
    """Shared singular modes of a task: left (mode, class), right (mode, dim), s (mode,) input-output correlation, falling,
    and power (mode,) the input's second moment lambda along each."""

    left: Tensor
    right: Tensor
    s: Tensor
    power: Tensor

    @property
    def final(self) -> Tensor:
        """(mode,) strength s / lambda at which each mode ends."""
        return self.s / self.power


def modes_of(inputs: Tensor, targets: Tensor, tolerance: float = 1e-6) -> Modes:
    """The modes of examples (example, dim) and their targets (example, class).

    Raises ViewraceError where the right singular vectors of E[y x^T] are no eigenvectors of E[x x^T], to `tolerance` of
    its largest eigenvalue: the modes then drive one another and no closed form is known.
    """
    count = len(inputs)
    u, s, vt = torch.linalg.svd(targets.T @ inputs / count, full_matrices=False)
    if not s[0] > 0:
        raise ViewraceError(f"targets must be correlated with the inputs, received a correlation of {s[0]:g}: there are no modes")
    kept = s > 1e-9 * s[0]
    left, s, right = u.T[kept], s[kept], vt[kept]
    moment = inputs.T @ inputs / count
    seen = right @ moment
    power = (seen * right).sum(dim=1)
    off = float((seen - power[:, None] * right).norm(dim=1).amax() / torch.linalg.matrix_norm(moment, 2))
    if off > tolerance:
        raise ViewraceError(
            f"the singular vectors of the input-output correlation must be eigenvectors of the input correlation, received "
            f"inputs that miss it by {off:.2g} of the largest eigenvalue: whiten the inputs, or raise the tolerance and say so"
        )
    return Modes(left, right, s, power)


def _checked(**values: ArrayLike) -> list[Array]:
    arrays = [np.asarray(value, dtype=np.float64) for value in values.values()]
    for name, array in zip(values, arrays, strict=True):
        if not (array > 0).all():
            raise ViewraceError(f"{name} must be above 0, received {array.min():g}: a mode of that kind is never learned")
    return arrays


def _refuse_depth(layers: int) -> None:
    if layers < 1:
        raise ViewraceError(f"layers must be at least 1, received {layers}: count the weight matrices, not the hidden layers")


def logistic(time: ArrayLike, start: ArrayLike, s: ArrayLike, power: ArrayLike = 1.0) -> Array:
    """(time, mode) strengths with one hidden layer from balanced `start` (mode,): da/dt = 2 a (s - lambda a), so

        a(t) = (s / lambda) / (1 + (s / (lambda a(0)) - 1) exp(-2 s t)).

    Saxe, McClelland & Ganguli 2014, the equation for u_f(t), there with lambda = 1.
    """
    first, rate, power = _checked(start=start, s=s, power=power)
    final = rate / power
    decay = np.exp(-2 * rate * np.asarray(time, dtype=np.float64)[:, None])
    return final / (1 + (final / first - 1) * decay)


def strength(time: ArrayLike, start: ArrayLike, s: ArrayLike, power: ArrayLike = 1.0, layers: int = 2) -> Array:
    """(time, mode) strengths of a network of `layers` weight matrices from balanced `start` (mode,) at the first `time`.

    Closed for 1 (linear regression) and 2 layers; for more, da/dt is integrated in log a to a relative 1e-10.
    """
    _refuse_depth(layers)
    times = np.asarray(time, dtype=np.float64)
    if layers == 2:
        return logistic(times - times[0], start, s, power)
    first, rate, power = np.broadcast_arrays(*_checked(start=start, s=s, power=power))
    if layers == 1:
        final = rate / power
        return final + (first - final) * np.exp(-power * (times - times[0])[:, None])

    def slope(_: float, log: Array) -> Array:
        return layers * np.exp(log * (1 - 2 / layers)) * (rate - power * np.exp(log))

    span = (times[0], times[-1])
    solved = solve_ivp(slope, span, np.log(first), method="DOP853", t_eval=times, rtol=ACCURACY, atol=ACCURACY)
    return np.exp(solved.y.T)


def escape_time(start: float, s: float, power: float = 1.0, layers: int = 2, fraction: float = 0.5) -> float:
    """Time from `start` to `fraction` of the final strength: the integral of da / (D a^(2 - 2/D) (s - lambda a)).

    For D = 2 it is ln((s/(lambda a0) - 1) fraction / (1 - fraction)) / (2 s); for D > 2 it grows as a0^-(1 - 2/D), the
    same power of the init that a view's correlation waits for in a network of power q = D.
    Raises ViewraceError where the start is not below that fraction.
    """
    _refuse_depth(layers)
    _checked(start=start, s=s, power=power)
    final = s / power
    if not start < fraction * final < final:
        raise ViewraceError(
            f"an escape must lead up to a fraction of the final strength {final:g}, received a start of {start:g} and a fraction "
            f"of {fraction:g}: start lower, or ask for a fraction between {start / final:.3g} and 1"
        )
    if layers == 2:
        return math.log((final / start - 1) * fraction / (1 - fraction)) / (2 * s)

    def slowness(log: float) -> float:
        return 1 / (layers * math.exp(log * (1 - 2 / layers)) * (s - power * math.exp(log)))

    return float(quad(slowness, math.log(start), math.log(fraction * final), epsabs=0, epsrel=ACCURACY, limit=400)[0])


def mode_strengths(params: Params, modes: Modes) -> Tensor:
    """(seed, mode) u_k^T W_L .. W_0 v_k of networks of the family `linear`."""
    carried = modes.right.T.expand(len(params["weight_0"]), -1, -1)
    for layer in range(len(params)):
        carried = params[f"weight_{layer}"] @ carried
    return torch.einsum("kc,sck->sk", modes.left, carried)


def early_strength(params: Params, modes: Modes) -> Tensor:
    """(seed, mode) the a(0) with which `logistic` describes a network of one hidden layer, from a small init, until it escapes.

    While a << s / lambda the flow is linear: with p = W_0 v and q = W_1^T u, dp/dt = s q and dq/dt = s p. The half sum
    (p + q) / 2 grows as exp(s t) and the half difference decays, so a(t) = |p + q|^2 / 4 exp(2 s t) after a time 1 / s.
    What it has in common with modes that escape before it is lost later: a part of order 1 / width, see `settled_strength`.
    """
    return _early_directions(params, modes).square().sum(dim=2)


def settled_strength(params: Params, modes: Modes) -> Tensor:
    """(seed, mode) the a(0) with which `logistic` describes the escape itself, where modes escape one after the other.

    The map between input k and output j is p_k . q_j, and its target for j != k is 0: once j is learned, the flow takes from p_k
    and q_k what lies along q_j and p_j. So each (p + q) / 2 counts with what is orthogonal to those of all stronger modes.
    """
    directions = _early_directions(params, modes)
    if directions.shape[2] < directions.shape[1]:
        raise ViewraceError(
            f"the hidden layer must have a unit for each of {directions.shape[1]} modes, received {directions.shape[2]}: widen it"
        )
    return torch.linalg.qr(directions.mT).R.diagonal(dim1=1, dim2=2).square()


def _early_directions(params: Params, modes: Modes) -> Tensor:
    if len(params) != 2:
        raise ViewraceError(f"an early strength needs one hidden layer, received {len(params) - 1}: start aligned instead")
    into = torch.einsum("shd,kd->skh", params["weight_0"], modes.right)
    out = torch.einsum("sch,kc->skh", params["weight_1"], modes.left)
    return (into + out) / 2


def aligned_init(modes: Modes, start: Tensor, hidden: Sequence[int], generators: Sequence[torch.Generator]) -> Params:
    """Balanced weights whose modes have strengths `start` (seed, mode): W_l = R_(l+1) diag(start^(1/D)) R_l^T.

    The R between are random orthonormal frames (hidden, mode), one draw a seed; a hidden layer needs a unit a mode.
    """
    count = len(modes.s)
    if min(hidden, default=count) < count:
        raise ViewraceError(f"hidden layers must have a unit for each of {count} modes, received {min(hidden)}: widen them")
    each = start ** (1 / (len(hidden) + 1))
    seeds = len(generators)
    frames = [modes.right.T.expand(seeds, -1, -1)]
    for width in hidden:
        draws = [torch.randn(width, count, generator=generator, dtype=torch.float64) for generator in generators]
        frames.append(torch.linalg.qr(torch.stack(draws)).Q)
    frames.append(modes.left.T.expand(seeds, -1, -1))
    return {f"weight_{layer}": (frames[layer + 1] * each[:, None, :]) @ frames[layer].mT for layer in range(len(frames) - 1)}


def squared_error_gradient(family: DeepLinear, inputs: Tensor, targets: Tensor) -> Callable[[Params], Params]:
    """The gradient of the mean over examples of |y - f(x)|^2 / 2, inputs (example, dim), targets (example, class)."""
    patches = inputs[:, None, :]

    def gradient(params: Params) -> Params:
        logits, back = family.pullback(params, patches)
        return back((logits - targets) / len(targets))

    return gradient
