"""Composite images: several real pictures of one class, each in its own place, so that the views of an image are known.

The idea is that of Chidambaram et al. (Midpoint Mixup, ICML 2023). Drawn in the manner of the patch distribution: each view shows
a picture of the label's class of its own, and in a single-view image all views but one are blank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from viewrace.data.images import ImageSet, check_split
from viewrace.errors import ViewraceError
from viewrace.options import Options
from viewrace.streams import Stream, torch_generator

__all__ = ["Composite", "CompositeConfig", "Composites"]

MOST_TURNED = 8
"""Ways in which a square can be turned and mirrored."""


class CompositeConfig(Options):
    """How pictures are put together."""

    views: int = Field(3, ge=1, description="M, pictures in a composite image")
    layout: Literal["channels", "tiles"] = Field(
        "channels", description="views on top of each other as channels, or side by side as tiles"
    )
    turned: bool = Field(
        False, description="view m turned by m quarter turns, from the fifth on mirrored too: tells apart views in tiles"
    )
    examples: int = Field(2000, ge=1, description="training images")
    test_examples: int = Field(1000, ge=1, description="images of each test set")
    mu: float = Field(0.0, ge=0, le=1, description="fraction of single-view images in the training data")
    brightness: tuple[float, float] = Field((1.0, 1.0), description="factor on the pixels of a view, uniform in [low, high]")
    weak: float = Field(0.0, ge=0, le=1, description="factor on the other views of a single-view image (AZL's rho); 0: blank")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not 0 < self.brightness[0] <= self.brightness[1] <= 1:
            raise ValueError(
                f"brightness must be a pair with 0 < low <= high <= 1, received {self.brightness}: pixels must stay in [0, 1]"
            )
        if self.turned and self.views > MOST_TURNED:
            raise ValueError(f"a square can be turned in {MOST_TURNED} ways, received {self.views} views: lower views")
        return self


@dataclass(frozen=True)
class Composite:
    """Composite images with everything that is known about them.

    parts: (example, view, channel, height, width) float32 in [0, 1], 0 where blank. labels: (example,). factor: (example, view)
    what the pixels were multiplied by, 0 for a blank view. picture: (example, view) row of the picture in its pool.
    """

    parts: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    factor: Tensor
    picture: Tensor
    layout: str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> Tensor:
        """(example, view * channel, height, width), or in tiles (example, channel, height, view * width)."""
        return assembled(self.parts, self.layout)

    def as_images(self) -> ImageSet:
        """The images as any trainer takes them."""
        return ImageSet(self.images, self.labels, self.classes)

    def only(self, views: int | Sequence[int]) -> Composite:
        """The same images with all other views blank."""
        shown = [views] if isinstance(views, int) else list(views)
        absent = [view for view in shown if not 0 <= view < self.parts.shape[1]]
        if absent:
            raise ViewraceError(f"a view must lie in 0..{self.parts.shape[1] - 1}, received {absent[0]}: name another")
        kept = torch.zeros(self.parts.shape[1]).index_fill(0, torch.tensor(shown, dtype=torch.int64), 1.0)
        return replace(self, parts=self.parts * kept[:, None, None, None], factor=self.factor * kept)

    def blanked(self, views: int | Sequence[int]) -> Composite:
        """The same images with these views blank."""
        gone = {views} if isinstance(views, int) else set(views)
        self.only(sorted(gone))
        return self.only([view for view in range(self.parts.shape[1]) if view not in gone])


def assembled(parts: Tensor, layout: str) -> Tensor:
    """From (.., view, channel, height, width) to images (.., channel, height, width)."""
    if layout == "channels":
        return parts.flatten(-4, -3)
    return parts.movedim(-4, -2).flatten(-2)


class Composites:
    """Composite images of one root seed, whose test images show pictures that were never trained on."""

    def __init__(self, train: ImageSet, test: ImageSet, config: CompositeConfig, root: int):
        check_split(train, test)
        height, width = train.shape[1:]
        if config.turned and config.views > 1 and height != width:
            raise ViewraceError(f"turned pictures must be square, received {height}x{width}: cut them or set turned=false")
        self.config, self.root = config, root
        self._pools = (train, test)

    def train(self) -> Composite:
        """The training images: a fraction mu of them single-view."""
        return self._draw(0, self.config.examples, self.config.mu, 0)

    def test(self) -> Composite:
        """Fresh images of the same distribution."""
        return self._draw(1, self.config.test_examples, self.config.mu, 1)

    def test_single(self) -> Composite:
        """Fresh images that are all single-view."""
        return self._draw(1, self.config.test_examples, 1.0, 2)

    def probes(self, count: int = 50) -> Tensor:
        """(class, view, probe, channel, height, width): each view alone, up to `count` fixed test pictures of every class."""
        pool, views = self._pools[1], self.config.views
        rows = [(pool.labels == label).nonzero().squeeze(1) for label in range(len(pool.classes))]
        count = min(count, *(len(mine) for mine in rows))
        pictures = torch.stack([mine[:count] for mine in rows])
        parts = self._shown(pool, pictures[..., None].expand(-1, -1, views))
        alone = parts[:, None] * torch.eye(views)[None, :, None, :, None, None, None]
        return assembled(alone, self.config.layout)

    def _draw(self, which: int, count: int, mu: float, name: int) -> Composite:
        config, pool = self.config, self._pools[which]
        generator = torch_generator(self.root, Stream.COMPOSITE, name)
        labels = torch.arange(count) % len(pool.classes)
        picture = _pick(pool.labels, labels, config.views, generator)
        low, high = config.brightness
        factor = low + (high - low) * torch.rand(count, config.views, generator=generator)
        single = torch.rand(count, 1, generator=generator) < mu
        chosen = torch.randint(config.views, (count, 1), generator=generator) == torch.arange(config.views)
        factor = torch.where(single & ~chosen, config.weak, factor)
        parts = self._shown(pool, picture) * factor[:, :, None, None, None]
        return Composite(parts, labels, pool.classes, factor, picture, config.layout)

    def _shown(self, pool: ImageSet, picture: Tensor) -> Tensor:
        """(.., view, channel, height, width): pictures as each view shows them."""
        columns = [pool.images[mine] for mine in picture.unbind(-1)]
        if self.config.turned:
            columns = [_turned(column, view) for view, column in enumerate(columns)]
        return torch.stack(columns, dim=-4)


def _pick(pool: Tensor, labels: Tensor, views: int, generator: torch.Generator) -> Tensor:
    """(example, view): for each view a row of the pool that has the example's label, each drawn by itself."""
    order, sizes = pool.argsort(stable=True), torch.bincount(pool)
    start = (sizes.cumsum(0) - sizes)[labels, None]
    uniform = torch.rand(len(labels), views, generator=generator, dtype=torch.float64)
    return order[start + (uniform * sizes[labels, None]).long()]


def _turned(images: Tensor, view: int) -> Tensor:
    """The view's own way of holding a picture: one of the eight ways to lay a square."""
    turned = torch.rot90(images, view % 4, dims=(-2, -1))
    return turned.flip(-1) if view >= 4 else turned
