"""Any `torch.nn.Module` as a function of its weights: imported, drawn from explicit seeds, stacked over members.

A module's init and its dropout read torch's global generator. They are run inside a fork of it that is set to the seed of one
member, so a network is decided by its seed alone and the global generator is left as it was.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from viewrace.errors import ViewraceError
from viewrace.nets.family import Params

__all__ = ["AT_ONCE", "Factory", "ModuleNet", "brief", "check_output", "draw", "import_factory", "seeded", "stack"]

Factory = Callable[[], nn.Module]
"""Builds one network with fresh weights, drawn from torch's global generator."""
AT_ONCE = 16
"""Members that are taken together, to bound memory."""


def import_factory(spec: str) -> Factory:
    """The callable that `package.module:name` names; modules in the working folder can be named too."""
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise ViewraceError(f"a network factory is named package.module:name, received {spec!r}: for example mynets:make_net")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module_name)
    except Exception as error:
        raise ViewraceError(f"cannot import {module_name} of {spec}: {brief(error)}; mend it or run where it is") from None
    factory = getattr(found, name, None)
    if not callable(factory):
        known = "nothing of that name" if factory is None else f"a {type(factory).__name__}"
        raise ViewraceError(f"{spec} must be a callable that returns a torch.nn.Module, found {known}: check the name")
    return factory


@contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Torch's global generators stand at `seed` inside, and as before afterwards."""
    devices = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def draw(factory: Factory, generators: Sequence[torch.Generator]) -> list[nn.Module]:
    """One network for each generator, whose seed decides its init.

    Raises ViewraceError where the factory fails, gives no module, gives another network when asked twice under one seed, or
    seeds the global generator itself, which would make all networks one.
    """
    built = [_build(factory, generator.initial_seed()) for generator in generators]
    first = generators[0].initial_seed()
    again, end = _build(factory, first)
    if again is built[0][0]:
        raise ViewraceError("a network factory must build a new network each time, received one that gives the same object again")
    if not all(map(torch.equal, _tensors(built[0][0]), _tensors(again))):
        raise ViewraceError(
            "a network factory must draw its weights from torch's generator, received one whose networks differ "
            "under one seed: use torch's random functions alone"
        )
    other_end = _build(factory, first ^ 1)[1]
    if torch.equal(end, other_end):
        raise ViewraceError(
            "a network factory must not seed torch's global generator, received one that does, so that all "
            "members would be one network: take torch.manual_seed out of it"
        )
    return [module for module, _ in built]


def _build(factory: Factory, seed: int) -> tuple[nn.Module, Tensor]:
    """A network, and where the global generator stands after it."""
    with seeded(seed):
        try:
            module = factory()
        except Exception as error:
            raise ViewraceError(f"the network factory failed: {brief(error)}; it is called without arguments") from None
        end = torch.get_rng_state()
    if not isinstance(module, nn.Module):
        raise ViewraceError(f"a network factory must return a torch.nn.Module, received {type(module).__name__}: check it")
    if any(nn.parameter.is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers())):
        raise ViewraceError("a network must have all its weights when it is built, received lazy ones: give their sizes")
    return module, end


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def check_output(module: nn.Module, shape: tuple[int, ...], classes: int) -> None:
    """Refuse a network that does not turn two inputs (2, *shape) into logits (2, classes), as it is used after training."""
    given = (2, *shape)
    module.eval()
    try:
        with seeded(0), torch.no_grad():
            said = module(torch.zeros(given))
    except Exception as error:
        raise ViewraceError(f"the network failed on inputs of shape {given}: {brief(error)}; mend it") from None
    found = tuple(said.shape) if isinstance(said, Tensor) else type(said).__name__
    if found != (2, classes):
        raise ViewraceError(
            f"a network must give logits of shape (2, {classes}) for inputs of shape {given}, received {found}: give it "
            f"{classes} outputs"
        )


def stack(modules: Sequence[nn.Module]) -> tuple[Params, Params]:
    """Weights that are trained, and all other tensors (running statistics, frozen weights), with a leading axis `member`."""
    everyone = [dict(module.named_parameters()) | dict(module.named_buffers()) for module in modules]
    trained = {name for name, weight in modules[0].named_parameters() if weight.requires_grad}
    stacked = {name: torch.stack([tensors[name].detach() for tensors in everyone]) for name in everyone[0]}
    return (
        {name: tensor for name, tensor in stacked.items() if name in trained},
        {name: tensor for name, tensor in stacked.items() if name not in trained},
    )


class ModuleNet:
    """One architecture as a function of its weights, for many members at once or one after the other."""

    def __init__(self, module: nn.Module):
        self.module = module

    def respond(
        self,
        weights: Params,
        buffers: Params,
        inputs: Tensor,
        *,
        own: bool = False,
        training: bool = False,
        batched: bool = True,
        seeds: Sequence[int] | None = None,
    ) -> tuple[Tensor, Params]:
        """(member, example, class) logits, and the buffers as they are afterwards; what is passed in stays as it was.

        inputs: (example, ...), or with `own` (member, example, ...), each member's own. batched: all members in one go
        (torch.func.vmap), which a module with randomness of its own refuses. seeds: of that randomness, one a member.
        """
        self.module.train(training)
        buffers = {name: tensor.clone() for name, tensor in buffers.items()} if training else buffers
        if batched:
            return torch.func.vmap(self._one, in_dims=(0, 0, 0 if own else None))(weights, buffers, inputs)
        columns = {name: tensor.unbind() for name, tensor in weights.items()}
        logits, after = [], []
        for index in range(len(next(iter(weights.values())))):
            weight = {name: column[index] for name, column in columns.items()}
            buffer = {name: tensor[index] for name, tensor in buffers.items()}
            with seeded(seeds[index] if seeds else 0, str(inputs.device)):
                logit, buffer = self._one(weight, buffer, inputs[index] if own else inputs)
            logits.append(logit)
            after.append(buffer)
        return torch.stack(logits), {name: torch.stack([buffer[name] for buffer in after]) for name in buffers}

    def _one(self, weights: Params, buffers: Params, inputs: Tensor) -> tuple[Tensor, Params]:
        tensors = {**weights, **buffers}
        # torch writes the buffers that a forward pass replaced back into a dict that it is given as it is
        logits = torch.func.functional_call(self.module, tensors, (inputs,))
        return logits, {name: tensors[name] for name in buffers}


def brief(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
