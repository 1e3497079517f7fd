"""One gradient of many networks, by every way one would think of: what the engine is compared with.

Every way is a function of no arguments that evaluates all gradients of the mean cross-entropy once, on the same weights and
the same data, in float32, or with the patch network's products in bf16. Autograd's are written as one would write one network.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, cross_entropy

from viewrace.nets import MLP, Family, Params, PatchNet
from viewrace.nets.activation import smoothed_relu
from viewrace.train import HardLoss
from viewrace.train.objective import Objective

__all__ = ["Size", "Way", "convolution_ways", "mlp_ways", "patch_ways"]

Way = Callable[[], object]
Q, RHO, CLASSES, PATCHES = 4, 10.0, 10, 8
CHUNK_NUMBERS = {"cpu": 20_000_000, "cuda": 1_000_000_000}
PROCESSOR = torch.device("cpu")


@dataclass(frozen=True)
class Size:
    """seeds; neurons = K m of one network; dim = d; columns = N P, patches of all examples."""

    seeds: int = 16
    neurons: int = 40
    dim: int = 120
    columns: int = 4800

    @property
    def flops(self) -> float:
        """What the two matrix products of one gradient need, forward and back."""
        return 4.0 * self.seeds * self.neurons * self.dim * self.columns

    @property
    def examples(self) -> int:
        return self.columns // PATCHES


def patch_ways(
    size: Size, compiled: bool, jax: bool, device: torch.device = PROCESSOR, products: torch.dtype = torch.float32
) -> dict[str, Way]:
    """The engine and its peers on AZL's patch network; compiled ones only where asked for, since they take long to start.

    products: the number format in which the peers multiply; the engine's is torch's float32 precision.
    """
    chance = torch.Generator().manual_seed(0)
    inputs = (torch.randn(size.examples, PATCHES, size.dim, generator=chance) / size.dim**0.5).to(device)
    labels = (torch.arange(size.examples) % CLASSES).to(device)
    family = PatchNet(CLASSES, size.dim, PATCHES, size.neurons // CLASSES, Q, RHO, 0.3)
    weight = torch.randn(size.seeds, CLASSES, size.neurons // CLASSES, size.dim, generator=chance) * 3.0
    weight, shown = weight.to(device), inputs.to(products)

    def logits(one: Tensor) -> Tensor:
        response = torch.einsum("kmd,npd->nkmp", one.to(products), shown).float()
        return smoothed_relu(response, Q, RHO).sum(dim=(2, 3))

    chunk = max(1, CHUNK_NUMBERS[device.type] // (size.neurons * size.columns))
    ways = {"viewrace": _engine(family, {"weight": weight}, inputs, labels)}
    ways |= _torch_ways(lambda one: cross_entropy(logits(one["weight"]), labels), {"weight": weight}, chunk, compiled)
    if jax and importlib.util.find_spec("jax") is not None:
        ways["jax vmap"] = _jax(weight.cpu(), inputs.cpu(), labels.cpu(), chunk, products == torch.bfloat16)
    return ways


def mlp_ways(
    seeds: int, examples: int = 600, dim: int = 120, hidden: int = 64, device: torch.device = PROCESSOR
) -> dict[str, Way]:
    """The engine and its peers on an MLP with one hidden layer of plain ReLU."""
    chance = torch.Generator().manual_seed(0)
    inputs = torch.randn(examples, 1, dim, generator=chance).to(device)
    labels = (torch.arange(examples) % CLASSES).to(device)
    family = MLP(CLASSES, dim, 1, (hidden,), q=1, rho=1.0, init=1.0)
    drawn = family.init([torch.Generator().manual_seed(seed) for seed in range(seeds)])
    params = {name: tensor.to(device) for name, tensor in drawn.items()}
    ways = {"viewrace": _engine(family, params, inputs, labels)}
    return ways | _torch_ways(lambda one: cross_entropy(family.apply(one, inputs), labels), params, seeds, compiled=False)


def convolution_ways(
    seeds: int, examples: int = 100, channels: int = 8, side: int = 16, device: torch.device = PROCESSOR
) -> dict[str, Way]:
    """A small convolutional net: a loop, vmap, and all seeds as the groups of one convolution."""
    chance = torch.Generator().manual_seed(0)
    images = torch.randn(examples, 1, side, side, generator=chance).to(device)
    labels = (torch.arange(examples) % CLASSES).to(device)
    shapes = {"first": (channels, 1, 3, 3), "second": (channels, channels, 3, 3), "read": (CLASSES, channels)}
    params = {name: 0.2 * torch.randn(seeds, *shape, generator=chance).to(device) for name, shape in shapes.items()}

    def loss(one: Params) -> Tensor:
        hidden = torch.relu(conv2d(torch.relu(conv2d(images, one["first"])), one["second"], stride=2))
        return cross_entropy(hidden.mean(dim=(2, 3)) @ one["read"].T, labels)

    def grouped() -> object:
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in params.items()}
        hidden = torch.relu(conv2d(images, leaves["first"].flatten(0, 1)))
        hidden = torch.relu(conv2d(hidden, leaves["second"].flatten(0, 1), stride=2, groups=seeds))
        logits = torch.einsum("nsc,skc->snk", hidden.mean(dim=(2, 3)).unflatten(1, (seeds, channels)), leaves["read"])
        total = cross_entropy(logits.flatten(0, 1), labels.repeat(seeds), reduction="sum") / examples
        return torch.autograd.grad(total, list(leaves.values()))

    return _torch_ways(loss, params, seeds, compiled=False) | {"grouped convolution": grouped}


def _engine(family: Family, params: Params, inputs: Tensor, labels: Tensor) -> Way:
    everyone = torch.arange(len(next(iter(params.values()))), device=inputs.device)
    objective = Objective(family, inputs, HardLoss(labels))
    return lambda: objective.at(params, everyone, count_right=False)


def _torch_ways(loss: Callable[[Params], Tensor], params: Params, chunk: int, compiled: bool) -> dict[str, Way]:
    gradient = torch.func.grad(loss)
    batched = torch.func.vmap(gradient, chunk_size=chunk)

    def loop() -> object:
        found = []
        for seed in range(len(next(iter(params.values())))):
            leaves = {name: tensor[seed].clone().requires_grad_() for name, tensor in params.items()}
            found.append(torch.autograd.grad(loss(leaves), list(leaves.values())))
        return found

    ways: dict[str, Way] = {"loop": loop, "vmap": lambda: batched(params)}
    if compiled:
        quick = torch.compile(torch.func.vmap(gradient), dynamic=False)
        ways["vmap compiled"] = lambda: quick(params)
    return ways


def _jax(weight: Tensor, inputs: Tensor, labels: Tensor, chunk: int, short: bool) -> Way:
    import jax
    import jax.numpy as jnp

    products = jnp.bfloat16 if short else jnp.float32
    given, target = jnp.asarray(inputs.numpy(), products), jax.nn.one_hot(labels.numpy(), CLASSES)

    def loss(one: jax.Array) -> jax.Array:
        scaled = (
            jnp.einsum("kmd,npd->nkmp", one.astype(products), given, precision="default" if short else "highest").astype(
                jnp.float32
            )
            / RHO
        )
        logits = (RHO * (jnp.clip(scaled, 0, 1) ** Q / Q + jax.nn.relu(scaled - 1))).sum(axis=(2, 3))
        return -(jax.nn.log_softmax(logits) * target).sum(axis=1).mean()

    gradient = jax.jit(jax.vmap(jax.grad(loss)))
    parts = [jnp.asarray(part.numpy()) for part in weight.split(chunk)]
    return lambda: [gradient(part).block_until_ready() for part in parts]
