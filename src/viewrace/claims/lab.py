"""Where claims do their experiments: data and networks under given root seeds, each trained once and shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from viewrace.config import Distill, Settings, Train
from viewrace.data import Distribution, Examples
from viewrace.measure import Views, views_of
from viewrace.nets import Family, Params, make_family
from viewrace.streams import Stream, torch_generator
from viewrace.train import Film, HardLoss, Loss, Penalty, ProbePenalty, Trace, Trained, require_training, train

__all__ = ["Bench", "Lab", "Networks", "Role", "Shelf"]


class Role(IntEnum):
    """Which inits a network takes; part of every result, so never renumber."""

    MEMBER = 0
    STUDENT = 1
    HEIR = 2
    PILOT = 3
    LINEAR = 40
    GATED = 41


class Shelf(Protocol):
    """Keeps trained networks between runs."""

    def get(self, key: str) -> dict[str, Tensor] | None:
        """The tensors put under `key`, or None."""
        ...

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep tensors under `key`."""
        ...


@dataclass(frozen=True)
class Networks:
    """Trained networks with what the measures need of them."""

    trained: Trained
    views: Views

    def __len__(self) -> int:
        return len(self.trained)

    def take(self, seeds: slice) -> Networks:
        """The networks `seeds` alone."""
        return Networks(self.trained.take(seeds), self.views.take(seeds))


class Bench:
    """One data set under one root seed."""

    def __init__(self, settings: Settings, root: int):
        self.settings, self.root = settings, root
        self.distribution = Distribution(settings.data, root)

    @cached_property
    def examples(self) -> Examples:
        return self.distribution.train()

    def family(self, width: int | None = None, init: float | None = None) -> Family:
        return make_family(self.settings.net, self.settings.data, width, init)

    def generators(self, role: Role, start: int, stop: int) -> list[torch.Generator]:
        return [torch_generator(self.root, Stream.INIT, int(role), index) for index in range(start, stop)]

    def hard_loss(self) -> HardLoss:
        train = self.settings.train
        return HardLoss(self.examples.labels, train.loss, train.entropy)

    def penalty(self) -> Penalty | None:
        """What the settings ask for beside the hard-label loss; none for most."""
        train = self.settings.train
        if not train.competition and not train.view_entropy:
            return None
        return ProbePenalty(self.distribution.probes(), train.competition, train.view_entropy)


class Lab:
    """Settings and root seeds, and the networks trained so far.

    progress is told units of work done, one unit a network of ordinary cost. A shelf keeps every trained group, so that an
    interrupted run goes on where it stopped.
    """

    def __init__(
        self,
        settings: Settings,
        roots: Sequence[int],
        progress: Callable[[float], None] | None = None,
        shelf: Shelf | None = None,
    ):
        self.settings, self.roots, self.shelf = settings, tuple(roots), shelf
        self.progress = progress or (lambda units: None)
        self._benches: dict[tuple[str, int], Bench] = {}
        self._members: dict[tuple[str, int], Networks] = {}
        self._kept: dict[str, dict[str, Tensor]] = {}

    def bench(self, root: int, settings: Settings | None = None) -> Bench:
        """The data set of these settings (default: the lab's) under a root seed."""
        settings = settings or self.settings
        key = (settings.fingerprint(), root)
        if key not in self._benches:
            self._benches[key] = Bench(settings, root)
        return self._benches[key]

    def kept(self, key: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """What `make` gives, made once: taken from memory or from the shelf where it is there under `key`."""
        if key not in self._kept:
            found = self.shelf.get(key) if self.shelf is not None else None
            if found is None:
                found = make()
                if self.shelf is not None:
                    self.shelf.put(key, found)
            self._kept[key] = found
        return self._kept[key]

    def members(self, bench: Bench, count: int, cost: float = 1.0) -> Networks:
        """The first `count` networks trained on hard labels; growing the number leaves the first as they were.

        `cost` is what one of them costs in units of work.
        """
        key = (bench.settings.fingerprint(), bench.root)
        have = self._members.get(key)
        start = len(have) if have is not None else 0
        if start < count:
            test = bench.settings.data.test_examples
            require_training(bench.family(), count - start, bench.examples.labels, bench.settings.train, shown=test)
            generators = bench.generators(Role.MEMBER, start, count)
            more = self.train(bench, f"member-{start}-{count}", bench.family(), generators, bench.hard_loss(), cost=cost)
            have = self._members[key] = more if have is None else _join(have, more)
        else:
            self.progress(count * cost)
        assert have is not None
        return _first(have, count)

    def train(
        self,
        bench: Bench,
        label: str,
        family: Family,
        init: Params | Sequence[torch.Generator],
        loss: Loss,
        *,
        student: Distill | None = None,
        cost: float = 1.0,
        trace: Trace | None = None,
        film: Film | None = None,
    ) -> Networks:
        """Train networks and show them the views. `label` names the group within its settings and root seed.

        A student's steps, tolerance and time are those of its `student` settings; a penalty of the settings is not for it. A
        group that is traced or filmed is trained anew, since the shelf keeps its end alone.
        """
        count = len(next(iter(init.values()))) if isinstance(init, dict) else len(init)
        key = f"{bench.settings.fingerprint()[:16]}-{bench.root}-{label}"
        kept = self.shelf.get(key) if self.shelf is not None and trace is None and film is None else None
        if kept is not None:
            self.progress(count * cost)
            return _with_views(_unpack(family, kept, torch.device(bench.settings.train.device)), bench)
        told = 0.0

        def tell(fraction: float) -> None:
            nonlocal told
            self.progress((fraction - told) * count * cost)
            told = fraction

        config, penalty = _stopping(bench.settings.train, student), None if student is not None else bench.penalty()
        inputs, order = bench.examples.inputs, bench.root
        trained = train(family, init, inputs, loss, config, order=order, progress=tell, trace=trace, film=film, penalty=penalty)
        tell(1.0)
        if self.shelf is not None:
            self.shelf.put(key, _pack(trained))
        return _with_views(trained, bench)


def _stopping(config: Train, student: Distill | None) -> Train:
    """How to train; a student's steps, tolerance and time are its own."""
    if student is None:
        return config
    own = {"steps": student.steps, "tolerance": student.tolerance, "time": student.time}
    return Train.model_validate(config.model_dump() | own)


_COLUMNS = ("outcome", "loss", "gap", "right", "evaluations", "time")


def _pack(trained: Trained) -> dict[str, Tensor]:
    weights = {f"weights.{name}": tensor.contiguous() for name, tensor in trained.params.items()}
    return weights | {name: getattr(trained, name).contiguous() for name in _COLUMNS}


def _unpack(family: Family, tensors: dict[str, Tensor], device: torch.device) -> Trained:
    params = {name.removeprefix("weights."): t for name, t in tensors.items() if name.startswith("weights.")}
    return Trained(family, params, *(tensors[name] for name in _COLUMNS), device=device)


def _with_views(trained: Trained, bench: Bench) -> Networks:
    return Networks(trained, views_of(trained, bench.distribution))


def _join(first: Networks, second: Networks) -> Networks:
    a, b = first.trained, second.trained
    params = {name: torch.cat([tensor, b.params[name]]) for name, tensor in a.params.items()}
    columns = (torch.cat([getattr(a, name), getattr(b, name)]) for name in _COLUMNS)
    trained = Trained(a.family, params, *columns, device=a.device)
    v, w = first.views, second.views
    return Networks(trained, Views(torch.cat([v.probes, w.probes]), torch.cat([v.single, w.single]), v.labels))


def _first(networks: Networks, count: int) -> Networks:
    return networks if len(networks) == count else networks.take(slice(0, count))
