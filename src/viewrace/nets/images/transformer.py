"""A small vision transformer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from viewrace.errors import ViewraceError
from viewrace.nets.images.sides import Size, sides

__all__ = ["VisionTransformer", "vision_transformer"]


class _Attention(nn.Module):
    """Softmax attention of several heads, written out, so that all members can be taken at once."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.mixed, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.mixed(tokens).chunk(3, dim=-1))
        weight = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)
        return self.out((weight @ value).transpose(1, 2).flatten(2))


class _Layer(nn.Module):
    """x + attention(norm x), then x + mlp(norm x)."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.first, self.second = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = _Attention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.first(tokens))
        return tokens + self.mlp(self.second(tokens))


class VisionTransformer(nn.Module):
    """Patches as tokens with learned places, pre-norm layers, the mean token read out (Dosovitskiy et al. 2021, without the
    class token). Images (example, channel, height, width) of the one size (height, width) to logits (example, class)."""

    def __init__(
        self, in_channels: int, size: tuple[int, int], classes: int, patch: int = 4, dim: int = 64, depth: int = 4, heads: int = 4
    ):
        super().__init__()
        self.patches = nn.Conv2d(in_channels, dim, patch, stride=patch)
        self.place = nn.Parameter(0.02 * torch.randn((size[0] // patch) * (size[1] // patch), dim))
        self.layers = nn.Sequential(*(_Layer(dim, heads) for _ in range(depth)), nn.LayerNorm(dim))
        self.head = nn.Linear(dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.place
        return self.head(self.layers(tokens).mean(dim=1))


def vision_transformer(
    in_channels: int, size: Size, classes: int, patch: int | None = None, dim: int = 64, depth: int = 4, heads: int = 4
) -> Callable[[], VisionTransformer]:
    """A factory of `VisionTransformer`; patch: its side in pixels, none: a quarter of the shorter side, at most 4."""
    height, width = sides(size, patch or 1)
    patch = max(1, min(4, min(height, width) // 4)) if patch is None else patch
    if height % patch or width % patch:
        raise ViewraceError(f"images must divide into whole patches of {patch} pixels, received {height}x{width}: set patch")
    if dim % heads:
        raise ViewraceError(f"dim must be a multiple of heads = {heads}, received {dim}: change one of them")
    return lambda: VisionTransformer(in_channels, (height, width), classes, patch, dim, depth, heads)
