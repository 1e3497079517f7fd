"""How weights move by their gradients: SGD and AdamW as torch.optim writes them, and the learning rate over the steps."""

from __future__ import annotations

import math

import torch

from viewrace.nets import Params
from viewrace.train.members.config import MemberConfig

__all__ = ["Descent", "rate_at"]

SQUARES = 0.999
"""AdamW: what is kept of the mean square of the gradient in a step (torch's default)."""
LEAST = 1e-8
"""AdamW: added to the root mean square, so that nothing is divided by 0 (torch's default)."""


class Descent:
    """The rule of descent with its memory: `kept`, named groups of tensors like the weights, and `done`, the steps so far.

    sgd: g <- g + decay w; v <- momentum v + g; w <- w - rate v, with Nesterov's momentum w <- w - rate (g + momentum v).
    adamw (Loshchilov & Hutter 2019): w <- (1 - rate decay) w - rate m / (sqrt(s) + 1e-8), where m and s are the running means
    of g and g^2, freed of their start at 0; momentum is that of m.
    """

    def __init__(self, config: MemberConfig, weights: Params):
        self.config, self.done = config, 0
        names = ("velocity",) if config.optimizer == "sgd" else ("velocity", "squares")
        self.kept = {group: {name: torch.zeros_like(tensor) for name, tensor in weights.items()} for group in names}

    @torch.no_grad()
    def move(self, weights: Params, gradient: Params, rate: float) -> None:
        """Change `weights` in place by one step."""
        self.done += 1
        rule = self._sgd if self.config.optimizer == "sgd" else self._adamw
        for name, weight in weights.items():
            rule(name, weight, gradient[name], rate)

    def _sgd(self, name: str, weight: torch.Tensor, gradient: torch.Tensor, rate: float) -> None:
        momentum = self.config.momentum
        pull = gradient.add(weight, alpha=self.config.weight_decay)
        velocity = self.kept["velocity"][name].mul_(momentum).add_(pull)
        weight.sub_(pull.add(velocity, alpha=momentum) if self.config.nesterov else velocity, alpha=rate)

    def _adamw(self, name: str, weight: torch.Tensor, gradient: torch.Tensor, rate: float) -> None:
        momentum = self.config.momentum
        mean = self.kept["velocity"][name].mul_(momentum).add_(gradient, alpha=1 - momentum)
        square = self.kept["squares"][name].mul_(SQUARES).addcmul_(gradient, gradient, value=1 - SQUARES)
        spread = square.div(1 - SQUARES**self.done).sqrt_().add_(LEAST)
        weight.mul_(1 - rate * self.config.weight_decay)
        weight.addcdiv_(mean, spread, value=-rate / (1 - momentum**self.done))


def rate_at(config: MemberConfig, step: int, steps: int) -> float:
    """Learning rate of step 0 .. steps - 1: a straight line up over the warm-up, then the schedule's fall."""
    rising = round(config.warmup * steps)
    if step < rising:
        return config.rate * (step + 1) / rising
    gone = (step - rising) / max(1, steps - rising)
    fall = {"constant": 1.0, "cosine": (1 + math.cos(math.pi * gone)) / 2, "one-cycle": 1 - gone}
    return config.rate * fall[config.schedule]
