"""The gradients of many members at one step, all at once or one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from viewrace.nets import Params
from viewrace.nets.module import AT_ONCE, ModuleNet
from viewrace.train.members.batches import Batch

__all__ = ["Rule", "Step", "gradients"]


@dataclass(frozen=True)
class Rule:
    """What members are trained on.

    alpha, temperature: of a teacher's soft labels (Hinton, Vinyals & Dean 2015, section 2). smoothing: weight of the uniform
    distribution in the hard labels. joint: the loss is that of the average of all members' logits, not each one's own.
    """

    alpha: float = 1.0
    temperature: float = 4.0
    smoothing: float = 0.0
    joint: bool = False


class Step(NamedTuple):
    """gradient: of each member. buffers: after the forward pass. loss, right: (member,) means over the batch."""

    gradient: Params
    buffers: Params
    loss: Tensor
    right: Tensor


def gradients(net: ModuleNet, weights: Params, buffers: Params, batch: Batch, rule: Rule, batched: bool) -> Step:
    """The gradient of each member's own loss, or of the joint one. batched: members all at once (in blocks), or one by one."""
    count = len(batch.labels)
    size = count if rule.joint else AT_ONCE if batched else 1
    parts = []
    for begin in range(0, count, size):
        rows = slice(begin, begin + size)
        mine = {name: tensor[rows].detach().requires_grad_() for name, tensor in weights.items()}
        kept = {name: tensor[rows] for name, tensor in buffers.items()}
        parts.append(_part(net, mine, kept, batch.take(rows), rule, batched))
    if len(parts) == 1:
        return parts[0]
    return Step(
        {name: torch.cat([part.gradient[name] for part in parts]) for name in weights},
        {name: torch.cat([part.buffers[name] for part in parts]) for name in buffers},
        torch.cat([part.loss for part in parts]),
        torch.cat([part.right for part in parts]),
    )


def _part(net: ModuleNet, weights: Params, buffers: Params, batch: Batch, rule: Rule, batched: bool) -> Step:
    logits, buffers = net.respond(weights, buffers, batch.inputs, own=True, training=True, batched=batched, seeds=batch.seeds)
    if rule.joint:
        logits, batch = logits.mean(dim=0, keepdim=True), batch.take(slice(0, 1))
    loss = _loss(logits, batch, rule)
    found = torch.autograd.grad(loss.sum(), list(weights.values()), materialize_grads=True)
    right = (logits.argmax(dim=-1) == batch.labels).float().mean(dim=1)
    members = len(next(iter(weights.values())))
    gradient = dict(zip(weights, found, strict=True))
    return Step(gradient, buffers, loss.detach().expand(members), right.expand(members))


def _loss(logits: Tensor, batch: Batch, rule: Rule) -> Tensor:
    """(member,) (1 - alpha) cross-entropy + alpha tau^2 KL(softmax(teacher / tau) || softmax(student / tau))."""
    hard = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.labels.flatten(), label_smoothing=rule.smoothing, reduction="none"
    ).view_as(batch.labels)
    if batch.soft is None:
        return hard.mean(dim=1)
    tau = rule.temperature
    target = (batch.soft / tau).log_softmax(dim=-1)
    divergence = (target.exp() * (target - (logits / tau).log_softmax(dim=-1))).sum(dim=-1)
    return ((1 - rule.alpha) * hard + rule.alpha * tau**2 * divergence).mean(dim=1)
