"""One step of many members: gradients, all at once or one after the other, and the descent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from viewrace.nets import Params
from viewrace.nets.module import ModuleNet
from viewrace.train.members.batches import Batch
from viewrace.train.members.config import MemberConfig

__all__ = ["Descent", "Soft", "Step", "gradients", "rate_at"]

AT_ONCE = 16
"""Members that a batched step takes together, to bound memory."""


@dataclass(frozen=True)
class Soft:
    """Weight and temperature of a teacher's soft labels (Hinton, Vinyals & Dean 2015, section 2)."""

    alpha: float
    temperature: float


class Step(NamedTuple):
    """gradient: of each member. buffers: after the forward pass. loss, right: (member,) means over the batch."""

    gradient: Params
    buffers: Params
    loss: Tensor
    right: Tensor


def gradients(
    net: ModuleNet, weights: Params, buffers: Params, batch: Batch, soft: Soft, smoothing: float, batched: bool, joint: bool
) -> Step:
    """The gradient of each member's own loss or, with `joint`, of the loss of their averaged logits.

    The joint gradient of a member is that of the average, so 1/members of what it would be if it stood for all.
    """
    count = len(batch.labels)
    size = count if joint else AT_ONCE if batched else 1
    parts = []
    for begin in range(0, count, size):
        rows = slice(begin, begin + size)
        mine = {name: tensor[rows].detach().requires_grad_() for name, tensor in weights.items()}
        kept = {name: tensor[rows] for name, tensor in buffers.items()}
        parts.append(_part(net, mine, kept, batch.take(rows), soft, smoothing, batched, joint))
    if len(parts) == 1:
        return parts[0]
    return Step(
        {name: torch.cat([part.gradient[name] for part in parts]) for name in weights},
        {name: torch.cat([part.buffers[name] for part in parts]) for name in buffers},
        torch.cat([part.loss for part in parts]),
        torch.cat([part.right for part in parts]),
    )


def _part(
    net: ModuleNet, weights: Params, buffers: Params, batch: Batch, soft: Soft, smoothing: float, batched: bool, joint: bool
) -> Step:
    logits, buffers = net.respond(weights, buffers, batch.inputs, own=True, training=True, batched=batched, seeds=batch.seeds)
    if joint:
        logits, batch = logits.mean(dim=0, keepdim=True), batch.take(slice(0, 1))
    loss = _loss(logits, batch, soft, smoothing)
    found = torch.autograd.grad(loss.sum(), list(weights.values()))
    right = (logits.argmax(dim=-1) == batch.labels).float().mean(dim=1)
    members = len(next(iter(weights.values())))
    gradient = dict(zip(weights, found, strict=True))
    return Step(gradient, buffers, loss.detach().expand(members), right.expand(members))


def _loss(logits: Tensor, batch: Batch, soft: Soft, smoothing: float) -> Tensor:
    """(member,) (1 - alpha) cross-entropy + alpha tau^2 KL(softmax(teacher / tau) || softmax(student / tau))."""
    hard = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.labels.flatten(), label_smoothing=smoothing, reduction="none"
    ).view_as(batch.labels)
    if batch.soft is None:
        return hard.mean(dim=1)
    tau = soft.temperature
    target = (batch.soft / tau).log_softmax(dim=-1)
    divergence = (target.exp() * (target - (logits / tau).log_softmax(dim=-1))).sum(dim=-1)
    return ((1 - soft.alpha) * hard + soft.alpha * tau**2 * divergence).mean(dim=1)


class Descent:
    """Stochastic gradient descent as torch.optim.SGD writes it: g <- g + decay w; v <- momentum v + g; w <- w - rate v, or with
    Nesterov's momentum w <- w - rate (g + momentum v)."""

    def __init__(self, config: MemberConfig, weights: Params):
        self.config = config
        self.velocity = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}

    @torch.no_grad()
    def move(self, weights: Params, gradient: Params, rate: float) -> None:
        """Change `weights` in place by one step."""
        config = self.config
        for name, weight in weights.items():
            pull = gradient[name].add(weight, alpha=config.weight_decay)
            velocity = self.velocity[name].mul_(config.momentum).add_(pull)
            weight.sub_(pull.add(velocity, alpha=config.momentum) if config.nesterov else velocity, alpha=rate)


def rate_at(config: MemberConfig, step: int, steps: int) -> float:
    """Learning rate of step 0 .. steps - 1: a straight line up over the warm-up, then the schedule's fall."""
    rising = round(config.warmup * steps)
    if step < rising:
        return config.rate * (step + 1) / rising
    gone = (step - rising) / max(1, steps - rising)
    fall = {"constant": 1.0, "cosine": (1 + math.cos(math.pi * gone)) / 2, "one-cycle": 1 - gone}
    return config.rate * fall[config.schedule]
