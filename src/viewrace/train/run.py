"""Train many networks: from a family, inputs and a loss to weights and what became of each seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from viewrace.config import Train
from viewrace.errors import ViewraceError
from viewrace.nets import Family, Params
from viewrace.train.descent import descend
from viewrace.train.film import Film
from viewrace.train.flow import integrate
from viewrace.train.losses import Loss
from viewrace.train.machine import machine, number_format, require_training
from viewrace.train.objective import Objective, block_numbers, take
from viewrace.train.outcome import count_outcomes, judge_outcome
from viewrace.train.penalties import Penalty
from viewrace.train.state import State
from viewrace.train.trace import Trace

__all__ = ["Progress", "Trained", "evaluate_logits", "train"]

CPU = torch.device("cpu")

Progress = Callable[[float], None]
"""Told the fraction of the work that is done, from 0 to 1."""


@dataclass(frozen=True)
class Trained:
    """Networks after training; every tensor has the seed axis first.

    outcome: (seed,) int64, see Outcome. loss, gap, right: (seed,) at the end. evaluations: (seed,) gradient evaluations
    spent. time: (seed,) time on the gradient flow. All of them are on the processor; device: where logits are computed.
    """

    family: Family
    params: Params
    outcome: Tensor
    loss: Tensor
    gap: Tensor
    right: Tensor
    evaluations: Tensor
    time: Tensor
    device: torch.device = field(default=CPU, kw_only=True)

    def __len__(self) -> int:
        return len(self.outcome)

    def take(self, seeds: Tensor | slice) -> Trained:
        """The networks `seeds` alone."""
        columns = (self.outcome, self.loss, self.gap, self.right, self.evaluations, self.time)
        return Trained(self.family, take(self.params, seeds), *(column[seeds] for column in columns), device=self.device)

    @property
    def outcomes(self) -> dict[str, int]:
        """How many seeds ended in each group."""
        return count_outcomes(self.outcome)

    def logits(self, inputs: Tensor) -> Tensor:
        """(seed, example, class) logits on inputs (example, patch, dim)."""
        return evaluate_logits(self.family, self.params, inputs, self.device)


def evaluate_logits(family: Family, params: Params, inputs: Tensor, device: torch.device = CPU) -> Tensor:
    """(seed, example, class) logits, computed on `device` in blocks of seeds and examples so that memory stays bounded."""
    count, numbers = len(next(iter(params.values()))), block_numbers(device, inputs.dtype)
    rows = max(1, min(len(inputs), numbers // family.activations(1)))
    block = max(1, numbers // family.activations(rows))
    logits = []
    for part in (family.prepare(part.to(device)) for part in inputs.split(rows)):
        blocks = (take(params, slice(at, at + block)) for at in range(0, count, block))
        said = [family.logits({name: tensor.to(device) for name, tensor in some.items()}, part).cpu() for some in blocks]
        logits.append(torch.cat(said))
    return torch.cat(logits, dim=1) if len(logits) > 1 else logits[0].contiguous()


def train(
    family: Family,
    init: Params | Sequence[torch.Generator],
    inputs: Tensor,
    loss: Loss,
    config: Train,
    *,
    order: int = 0,
    progress: Progress | None = None,
    trace: Trace | None = None,
    film: Film | None = None,
    penalty: Penalty | None = None,
) -> Trained:
    """Train one network for each initial weight (or generator) until its own stopping rule holds.

    inputs: (example, patch, dim). `order` is the root seed of the example order (sgd). `penalty` acts on inputs of its own
    beside the loss, which alone decides when to stop. A `film` is taken of runs on the gradient flow alone, since it is told
    the time by the flow. Never raises for a run that diverges: that is an outcome.
    """
    if film is not None and config.method != "flow":
        raise ViewraceError(
            f"a film is taken of the gradient flow alone, received train.method = {config.method}: set it to flow"
        )
    require_training(family, len(next(iter(init.values()))) if isinstance(init, dict) else len(init), loss.labels, config)
    params = init if isinstance(init, dict) else family.init(init)
    with machine(config) as device:
        return _trained(family, params, inputs, loss, config, device, order, progress, trace, film, penalty)


def _trained(
    family: Family,
    params: Params,
    inputs: Tensor,
    loss: Loss,
    config: Train,
    device: torch.device,
    order: int,
    progress: Progress | None,
    trace: Trace | None,
    film: Film | None,
    penalty: Penalty | None,
) -> Trained:
    dtype, labels = number_format(config), loss.labels
    everyone = torch.arange(len(next(iter(params.values()))), device=device)
    params = {name: tensor.to(device, dtype) for name, tensor in params.items()}
    loss = loss.to(device)
    objective = Objective(family, inputs.to(device, dtype), loss, penalty)
    first = objective.at(params, everyone)
    state = State.start(params, first, loss.reference(len(everyone)).to(device, dtype))
    watch = _watcher(progress, film, config.steps)
    if film is not None:
        film.open(state)
    if config.method == "flow":
        integrate(objective, state, first, config.error, config.tolerance, config.steps, config.time, watch, trace)
    else:
        descend(objective, state, config, order, watch)
    if film is not None:
        film.close(state)
    ended = {name: tensor.cpu() for name, tensor in state.params.items()}
    gap = torch.where(state.failed, torch.nan, state.gap).cpu()
    recall = _recall(evaluate_logits(family, ended, inputs.to(dtype), device), labels)
    outcome = judge_outcome(state.done.cpu(), gap, state.first_gap.cpu(), recall)
    columns = (state.value, state.gap, state.right, state.evaluations, state.time)
    return Trained(family, ended, outcome, *(column.cpu() for column in columns), device=device)


def _watcher(progress: Progress | None, film: Film | None, steps: int) -> Callable[[State], None]:
    def watch(state: State) -> None:
        if film is not None:
            film.watch(state)
        if progress is not None:
            ended = state.done | state.failed
            spent = (state.evaluations.float() / steps).clamp(max=1.0)
            progress(float(torch.where(ended, 1.0, spent).mean()))

    return watch


def _recall(logits: Tensor, labels: Tensor) -> Tensor:
    """(seed, class) fraction of each class's examples that are right; classes without an example count as 1."""
    right = (logits.argmax(dim=-1) == labels).float()
    classes = int(labels.max()) + 1
    onehot = torch.nn.functional.one_hot(labels, classes).float()
    counts = onehot.sum(dim=0)
    return torch.where(counts > 0, right @ onehot / counts.clamp(min=1), 1.0)
