"""Losses: a value and a residual dLoss/dlogits for each (seed, example, class), and how far a student has come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import NamedTuple, Self

import torch
from torch import Tensor

from viewrace.config import Distill

__all__ = ["Evaluation", "HardLoss", "Loss", "SoftLoss", "averaged"]


class Evaluation(NamedTuple):
    """value: (seed,) the loss; residual: (seed, example, class) its derivative by the logits, the mean over examples
    taken in; gap: (seed,) what stopping looks at, the loss itself or, for a student, the soft part that is left."""

    value: Tensor
    residual: Tensor
    gap: Tensor


class Loss(ABC):
    """A loss over one training set, for many seeds.

    Inside, classes come before examples: a softmax over the last of few classes costs ten times one that runs along examples.
    """

    labels: Tensor

    def reference(self, seeds: int) -> Tensor:
        """(seed,) what the tolerance is a fraction of: 1 for hard labels, the gap of a blank student for soft ones."""
        return torch.ones(seeds)

    def to(self, device: torch.device) -> Self:
        """The same loss with its tensors on a device."""
        moved = copy(self)
        for name, held in vars(self).items():
            if isinstance(held, Tensor | _Labels):
                setattr(moved, name, held.to(device))
        return moved

    @abstractmethod
    def evaluate(self, logits: Tensor, seeds: Tensor, examples: Tensor | None = None) -> Evaluation:
        """Value and residual at logits (seed, example, class) of the networks `seeds`, on all or the given examples."""


class _Labels:
    """Labels (example,), and as rows (class, example) that are 1 at the label and 0 elsewhere, made once for all examples."""

    def __init__(self, labels: Tensor):
        self.labels = labels
        self._whole = labels.new_empty(0)

    def to(self, device: torch.device) -> _Labels:
        return _Labels(self.labels.to(device))

    def onehot(self, like: Tensor, examples: Tensor | None) -> Tensor:
        """(class, example) in the number format and with the classes of `like` (seed, class, example)."""
        if examples is not None:
            return _onehot(self.labels[examples], like)
        if self._whole.dtype != like.dtype or len(self._whole) != like.shape[1]:
            self._whole = _onehot(self.labels, like)
        return self._whole


def _onehot(labels: Tensor, like: Tensor) -> Tensor:
    return (labels == torch.arange(like.shape[1], device=labels.device)[:, None]).to(like.dtype)


def _cross_entropy(rows: Tensor, onehot: Tensor) -> tuple[Tensor, Tensor]:
    """Of logits (seed, class, example) and labels (class, example): the value (seed,), and p - y."""
    log_probability = rows.log_softmax(dim=1)
    value = (log_probability.flatten(1) @ onehot.flatten()) / -rows.shape[2]
    return value, log_probability.exp_().sub_(onehot)


class HardLoss(Loss):
    """Labels only: `ce`, the cross-entropy, or `mse`, half the squared distance to the one-hot label.

    `entropy` times the mean entropy of the predictions is added: above 0 it drives them to be sure, below 0 it is the
    confidence penalty of Pereyra et al. 2017. The gap is the part without it.
    """

    def __init__(self, labels: Tensor, kind: str = "ce", entropy: float = 0.0):
        self.labels, self.kind, self.entropy = labels, kind, entropy
        self._targets = _Labels(labels)

    def evaluate(self, logits: Tensor, seeds: Tensor, examples: Tensor | None = None) -> Evaluation:
        rows = logits.mT
        onehot = self._targets.onehot(rows, examples)
        if self.kind == "ce":
            value, residual = _cross_entropy(rows, onehot)
        else:
            residual = rows - onehot
            value = residual.square().sum(dim=1).mean(dim=1) / 2
        gap = value
        if self.entropy:
            log_probability = rows.log_softmax(dim=1)
            probability = log_probability.exp()
            unsure = -(probability * log_probability).sum(dim=1, keepdim=True)
            residual = residual - self.entropy * probability * (log_probability + unsure)
            value = gap + self.entropy * unsure.mean(dim=(1, 2))
        return Evaluation(value, residual.div_(rows.shape[2]).mT, gap)


class SoftLoss(Loss):
    """A teacher's logits as soft labels.

    labels: (example,). teacher: (seed, example, class) logits, or 1 in place of seed for a teacher shared by all.
    temperature, alpha: (seed,) or a number; each student may have its own.

    `kd` (Hinton, Vinyals & Dean 2015, section 2): (1 - alpha) CE + alpha tau^2 KL(softmax(teacher / tau) ||
    softmax(student / tau)), residual (1 - alpha) (p - y) + alpha tau (p_tau - t_tau).

    `azl` (Allen-Zhu & Li, section 4): cross-entropy, plus alpha times the soft update (p_tau - t_tau), with both softmaxes
    over logits cut at `truncation`. With `one_sided`, only its negative part is kept, so it can raise a logit and never
    lowers one. In the paper's letters the soft label is softmax(min(tau'^2 F, 1) / tau'): that is tau = 1 / tau' here and
    truncation = tau^2, the default. Two-sided, the update is that of tau KL and no gradient passes a logit that is cut.
    The reported value is CE + alpha times the gap, the mean of sum_i (t_i - p_i)^+; one-sided, no function has this update
    as its gradient.

    The gap is tau^2 KL for `kd` and the mean of sum_i (t_i - p_i)^+ for `azl`; its reference is that of a student whose
    logits are all 0.
    """

    def __init__(
        self,
        labels: Tensor,
        teacher: Tensor,
        temperature: Tensor | float = 4.0,
        alpha: Tensor | float = 1.0,
        kind: str = "kd",
        truncation: float | None = None,
        one_sided: bool = True,
    ):
        self.labels, self.kind, self.one_sided = labels, kind, one_sided
        self._targets = _Labels(labels)
        self.temperature = torch.as_tensor(temperature, dtype=teacher.dtype).reshape(-1, 1, 1)
        self.alpha = torch.as_tensor(alpha, dtype=teacher.dtype).reshape(-1, 1, 1)
        self.cut = self.temperature**2 if truncation is None else torch.full_like(self.temperature, truncation)
        shown = torch.minimum(teacher, self.cut) if kind == "azl" else teacher
        self.log_target = (shown.mT / self.temperature).log_softmax(dim=1)
        self.target = self.log_target.exp()
        self.soft_alone = kind == "kd" and bool((self.alpha == 1).all())

    @classmethod
    def from_config(cls, config: Distill, labels: Tensor, teacher: Tensor, temperature: Tensor | float | None = None) -> SoftLoss:
        """The loss that `config` names; `temperature` overrides it, one for each student."""
        temperature = config.temperature if temperature is None else temperature
        return cls(labels, teacher, temperature, config.alpha, config.loss, config.truncation, config.one_sided)

    def reference(self, seeds: int) -> Tensor:
        blank = self.target.new_zeros(()).expand(seeds, *self.target.mT.shape[1:])
        return self.evaluate(blank, torch.arange(seeds, device=blank.device)).gap

    def evaluate(self, logits: Tensor, seeds: Tensor, examples: Tensor | None = None) -> Evaluation:
        rows = logits.mT
        soft = self._truncated if self.kind == "azl" else self._hinton
        hard_weight, soft_weight, update, gap = soft(rows, seeds, slice(None) if examples is None else examples)
        value, residual = soft_weight.flatten() * gap, soft_weight * update
        if not self.soft_alone:
            hard_value, hard = _cross_entropy(rows, self._targets.onehot(rows, examples))
            value, residual = value + hard_weight.flatten() * hard_value, residual + hard_weight * hard
        return Evaluation(value, residual.div_(rows.shape[2]).mT, gap)

    def _hinton(self, rows: Tensor, seeds: Tensor, examples: Tensor | slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        tau, alpha = _pick(self.temperature, seeds), _pick(self.alpha, seeds)
        target, log_target = (_pick(item, seeds)[:, :, examples] for item in (self.target, self.log_target))
        log_student = (rows / tau).log_softmax(dim=1)
        divergence = (target * (log_target - log_student)).sum(dim=1).mean(dim=1)
        return 1 - alpha, alpha, tau * (log_student.exp_() - target), tau.flatten() ** 2 * divergence

    def _truncated(self, rows: Tensor, seeds: Tensor, examples: Tensor | slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        tau, alpha, cut, target = (_pick(item, seeds) for item in (self.temperature, self.alpha, self.cut, self.target))
        update = (torch.minimum(rows, cut) / tau).softmax(dim=1) - target[:, :, examples]
        gap = -update.clamp(max=0).sum(dim=1).mean(dim=1)
        update = update.clamp_(max=0) if self.one_sided else update * (rows < cut)
        return torch.ones_like(alpha), alpha, update, gap


def averaged(logits: Tensor, rule: str) -> Tensor:
    """(1, example, class) what a teacher of many says, from its members' (seed, example, class) logits.

    `logits` averages logits (AZL); `probabilities` averages probabilities, and returns their logarithm.
    """
    if rule == "logits":
        return logits.mean(dim=0, keepdim=True)
    return logits.softmax(dim=-1).mean(dim=0, keepdim=True).clamp(min=1e-30).log()


def _pick(per_seed: Tensor, seeds: Tensor) -> Tensor:
    return per_seed if len(per_seed) == 1 else per_seed[seeds]
