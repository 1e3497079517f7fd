"""The distribution itself: features fixed by the root seed, and as many fresh sets of examples as are asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from viewrace.config import Data
from viewrace.data.amplitudes import draw_amplitudes, uniform
from viewrace.data.examples import Examples
from viewrace.data.sources import Split, make_source
from viewrace.memory import require
from viewrace.streams import Stream, torch_generator

__all__ = ["Distribution"]

PROBES = 30


class Distribution:
    """Multi-view data under one root seed.

    `train()`, `test()` and `test_single()` each have a generator of their own, so none shifts another. Two calls give the
    same examples. Source: AZL, section 2 (Definition of the data), and SCIENCE for the flat layout.
    """

    def __init__(self, config: Data, root: int):
        self.config = config
        self.root = root
        self.source = make_source(config, root)

    @property
    def features(self) -> Tensor:
        """(class, view, dim): the unit vector of each view (for digits, the mean picture)."""
        return self.source.dictionary

    def train(self) -> Examples:
        """The training examples: a fraction mu of them single-view."""
        return self._draw(self.config.examples, self.config.mu, "train", Stream.TRAIN)

    def test(self) -> Examples:
        """Fresh examples of the same distribution."""
        return self._draw(self.config.test_examples, self.config.mu, "test", Stream.TEST)

    def test_single(self) -> Examples:
        """Fresh examples that are all single-view, distractors and noise included: AZL's test error."""
        return self._draw(self.config.test_examples, 1.0, "test", Stream.TEST_SINGLE)

    def probes(self, every_seat: bool = False) -> Tensor:
        """(class, view, probe, patch, dim): each view alone at amplitude 1, without noise or distractors.

        In the patch layout only the patches that hold the view; with `every_seat` all patches, the others zero, and one probe
        for each run of patches that the view may hold, for networks that look at where a patch is.
        """
        vectors = self.source.gallery("test", PROBES)
        if self.config.layout == "flat":
            return vectors[:, :, :, None, :]
        spread = self.config.patches_per_feature
        alone = (vectors / spread)[:, :, :, None, :].expand(-1, -1, -1, spread, -1).contiguous()
        if not every_seat:
            return alone
        seats = self.config.patches // spread
        spare = self.config.patches - seats * spread
        seated = torch.einsum("kvpcd,st->kvpstcd", alone, torch.eye(seats)).flatten(4, 5).flatten(2, 3)
        return torch.nn.functional.pad(seated, (0, 0, 0, spare))

    def _draw(self, count: int, mu: float, split: Split, stream: Stream) -> Examples:
        config = self.config
        patches = 1 if config.layout == "flat" else config.patches
        numbers = count * (patches * (3 * config.dim + config.classes * config.views) + 4 * config.classes * config.views)
        setting = "data.examples" if stream == Stream.TRAIN else "data.test_examples"
        require(4.0 * numbers, f"drawing {count} examples of {patches} x {config.dim} numbers", f"lower {setting} or data.dim")
        generator = torch_generator(self.root, stream)
        labels = torch.arange(count) % self.config.classes
        single = torch.rand(count, generator=generator) < mu
        amplitude = draw_amplitudes(self.config, labels, single, generator)
        place = self._flat if self.config.layout == "flat" else self._patches
        inputs, patch_feature, amplitude, dropped = place(amplitude, labels, split, generator)
        inputs += self._background((count, inputs.shape[1]), generator)
        return Examples(inputs, labels, single, amplitude, patch_feature, dropped)

    def _background(self, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        config = self.config
        noise = config.noise * torch.randn((*shape, config.dim), generator=generator)
        if config.feature_noise > 0:
            weights = uniform((0.0, config.feature_noise), (*shape, config.classes * config.views), generator)
            noise += weights @ self.features.flatten(0, 1)
        return noise

    def _flat(
        self, amplitude: Tensor, labels: Tensor, split: Split, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        count = len(labels)
        every = torch.arange(self.config.classes * self.config.views).expand(count, -1)
        shown = self.source.show(every, split, generator)
        inputs = torch.einsum("nf,nfd->nd", amplitude.flatten(1), shown)[:, None, :]
        return inputs, torch.full((count, 1), -1), amplitude, 0

    def _patches(
        self, amplitude: Tensor, labels: Tensor, split: Split, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        config, count, spread = self.config, len(labels), self.config.patches_per_feature
        order, kept = _seats(amplitude, labels, config.patches // spread, generator)
        dropped = int((amplitude > 0).sum() - kept.sum())
        amplitude = amplitude * kept.view_as(amplitude)
        seated = order.repeat_interleave(spread, dim=1)
        empty = amplitude.flatten(1).gather(1, seated) == 0
        spare = config.patches - seated.shape[1]
        feature = torch.cat([seated.masked_fill(empty, -1), torch.full((count, spare), -1)], dim=1)
        shuffle = torch.rand((count, config.patches), generator=generator).argsort(dim=1)
        feature = feature.gather(1, shuffle)
        share = amplitude.flatten(1).gather(1, feature.clamp(min=0)) * (feature >= 0) / spread
        inputs = share[:, :, None] * self.source.show(feature.clamp(min=0), split, generator)
        return inputs, feature, amplitude, dropped


def _seats(amplitude: Tensor, labels: Tensor, seats: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which features get one of `seats` places: the label's own first, then distractors at random.

    Returns their indices (example, seat) and which features are kept (example, class * M + view).
    """
    _, classes, views = amplitude.shape
    flat = amplitude.flatten(1)
    own = (torch.arange(classes)[None, :] == labels[:, None]).repeat_interleave(views, dim=1)
    rank = torch.rand(flat.shape, generator=generator) + 2.0 * (flat == 0) - 2.0 * (own & (flat > 0))
    order = rank.argsort(dim=1)[:, :seats]
    kept = torch.zeros_like(flat, dtype=torch.bool).scatter_(1, order, torch.ones_like(order, dtype=torch.bool))
    return order, kept & (flat > 0)
