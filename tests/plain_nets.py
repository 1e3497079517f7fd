"""Networks by their definition, one seed and one neuron after another: what the families are held against."""

import torch
from torch import Tensor

from viewrace.nets import MLP, DeepLinear, Family, Params, PatchNet


def plain_activation(z: Tensor, q: int, rho: float) -> Tensor:
    if q == 1:
        return torch.where(z > 0, z, 0.0)
    beyond = torch.where(z > rho, z - (1 - 1 / q) * rho, z**q / (q * rho ** (q - 1)))
    return torch.where(z > 0, beyond, 0.0)


def largest(responses: Tensor, top_k: int | None) -> Tensor:
    """Row by row, all but the `top_k` largest set to 0."""
    if top_k is None:
        return responses
    kept = [sorted(range(len(row)), key=row.tolist().__getitem__, reverse=True)[:top_k] for row in responses.detach()]
    mask = torch.tensor([[float(neuron in row) for neuron in range(responses.shape[1])] for row in kept])
    return responses * mask.to(responses.dtype)


def plain_logits(family: Family, params: Params, given: Tensor) -> Tensor:
    """The definition of each family, one seed after another."""
    rows = []
    for seed in range(len(next(iter(params.values())))):
        if isinstance(family, PatchNet):
            weight = params["weight"][seed]
            logits = torch.zeros(len(given), len(weight), dtype=given.dtype)
            for label in range(len(weight)):
                for neuron in weight[label]:
                    for patch in range(given.shape[1]):
                        logits[:, label] += plain_activation(given[:, patch] @ neuron, family.q, family.rho)
        elif isinstance(family, DeepLinear):
            logits = given.reshape(len(given), -1)
            for layer in range(len(params)):
                logits = logits @ params[f"weight_{layer}"][seed].T
        else:
            assert isinstance(family, MLP)
            layers = sum(name.startswith("bias") for name in params)
            logits = given.reshape(len(given), -1)
            if "squeeze_0" in params:
                logits = logits @ params["squeeze_0"][seed].T
            for layer in range(layers):
                logits = logits @ params[f"weight_{layer}"][seed].T + params[f"bias_{layer}"][seed]
                if layer < layers - 1:
                    logits = largest(plain_activation(logits, family.q, family.rho), getattr(family, "top_k", None))
        rows.append(logits)
    return torch.stack(rows)
