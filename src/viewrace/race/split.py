"""What drives a view: the growth of its correlation, split into a self-reinforcing and an external part.

Let a = <w_{i,r}, v_{i,l}> be the strength of view l of class i in neuron r. On the gradient flow

    da/dt = - sum over examples n and patches p of R_{n,i} act'(<w_{i,r}, x_{n,p}>) <x_{n,p}, v_{i,l}>,

R the residual dLoss/dlogits. It enters linearly, so da/dt splits exactly: the *self-reinforcing* part has the residual of
hard labels, softmax(f) - y, at the network's own logits, which dies as the network fits its labels; the *external* part has
the rest, R minus that: what the teacher asks beyond the labels.

A patch that holds the view shows z v. Where z a stays on the polynomial part of the activation, and the noise of the patch is
small, it contributes R z (z a / rho)^(q-1), so that

    da/dt = (a / rho)^(q-1) D,    D_{i,l} = - sum over examples and the view's patches of R_{n,i} z^q.

D is the view's *drive*: it knows nothing of a, is shared by all neurons of the class, and splits as R does. It is
rho^(q-1) times the growth rate per head, d log a / dt, over a^(q-2). Source: AZL, the gradient of the patch network
(section 2), split here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from viewrace.data import Examples
from viewrace.errors import ViewraceError
from viewrace.nets import Family, Params, PatchNet
from viewrace.train import HardLoss, Loss
from viewrace.train.objective import BLOCK_NUMBERS, take

__all__ = ["Split", "gradient_split", "shown_power"]


@dataclass(frozen=True)
class Split:
    """Strengths, growth and drives of every view at one set of weights.

    strength: (seed, class, neuron, view) <w, v>, in units of an amplitude's response. self_reinforcing, external: the same
    shape, the two parts of d strength / dt, in strength per unit of time on the flow. drive_self, drive_external:
    (seed, class, view) the two parts of the drive D. drive_distractors: (seed, class, view) what D has from examples of
    other labels, in which the view distracts; counted in the two parts already.
    """

    strength: Tensor
    self_reinforcing: Tensor
    external: Tensor
    drive_self: Tensor
    drive_external: Tensor
    drive_distractors: Tensor

    @property
    def growth(self) -> Tensor:
        """(seed, class, neuron, view) d strength / dt, the sum of its parts."""
        return self.self_reinforcing + self.external

    @property
    def drive(self) -> Tensor:
        """(seed, class, view) D, the sum of its parts."""
        return self.drive_self + self.drive_external


def gradient_split(
    family: Family, params: Params, examples: Examples, features: Tensor, loss: Loss, seeds: Tensor | None = None
) -> Split:
    """Split the growth of every view of the networks `params` under `loss`.

    features: (class, view, dim). seeds: (seed,) which rows of a teacher or a temperature that differs by seed the networks
    take; default 0, 1, .. A loss of hard cross-entropy has an external part of exactly 0.
    """
    if not isinstance(family, PatchNet):
        raise ViewraceError(
            f"the gradient split needs a correlation with each view, which net.family = {family.name} does not have: "
            "set net.family=patch"
        )
    if bool((examples.patch_feature < 0).all()):
        raise ViewraceError(
            "the gradient split needs views in patches of their own, received data.layout = flat: set it to patches"
        )
    count = len(next(iter(params.values())))
    seeds = torch.arange(count) if seeds is None else seeds
    block = max(1, BLOCK_NUMBERS // family.activations(len(examples)))
    parts = [
        _block(family, take(params, slice(start, start + block)), examples, features, loss, seeds[start : start + block])
        for start in range(0, count, block)
    ]
    return Split(*(torch.cat(column) for column in zip(*parts, strict=True)))


def shown_power(examples: Examples, q: int) -> Tensor:
    """(example, class, view): sum of z^q over the patches that hold the view; an amplitude is split evenly over them."""
    classes, views = examples.amplitude.shape[1:]
    held = torch.nn.functional.one_hot(examples.patch_feature + 1, classes * views + 1).sum(dim=1)[:, 1:]
    patches = held.view(-1, classes, views).to(examples.amplitude.dtype)
    return patches * (examples.amplitude / patches.clamp(min=1)) ** q


def _block(
    family: PatchNet, params: Params, examples: Examples, features: Tensor, loss: Loss, seeds: Tensor
) -> tuple[Tensor, ...]:
    dtype = params["weight"].dtype
    inputs, features = examples.inputs.to(dtype), features.to(dtype)
    power = shown_power(examples, family.q).to(dtype)
    logits, back = family.pullback(params, inputs)
    hard = HardLoss(examples.labels).evaluate(logits, seeds).residual
    whole = loss.evaluate(logits, seeds).residual
    distracting = power.clone()
    distracting[torch.arange(len(examples)), examples.labels] = 0.0
    # a pullback serves one residual, so the second part asks for another
    own = -_along(back(hard)["weight"], features)
    external = -_along(family.pullback(params, inputs)[1](whole - hard)["weight"], features)
    drives = _drive(hard, power), _drive(whole - hard, power), _drive(whole, distracting)
    return _along(params["weight"], features), own, external, *drives


def _drive(residual: Tensor, power: Tensor) -> Tensor:
    return -torch.einsum("sni,nil->sil", residual, power)


def _along(rows: Tensor, features: Tensor) -> Tensor:
    """(seed, class, neuron, view): rows (seed, class, neuron, dim) along the views of their own class."""
    return torch.einsum("skmd,kld->skml", rows, features)
