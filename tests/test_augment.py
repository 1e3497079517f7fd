"""Augmentation: whole images are moved and mirrored, as often as they should be, by a generator of their own."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from viewrace.data.augment import Augment, augmented, flipped, shifted


@given(most=st.integers(0, 3), seed=st.integers(0, 99))
def test_a_shift_moves_whole_images_and_lets_black_in(most, seed):
    images = torch.rand(6, 2, 5, 4, generator=torch.Generator().manual_seed(seed)) + 0.1
    moved = shifted(images, most, torch.Generator().manual_seed(seed))
    for before, after in zip(images, moved, strict=True):
        padded = torch.nn.functional.pad(before, (most,) * 4)
        windows = [padded[:, i : i + 5, j : j + 4] for i in range(2 * most + 1) for j in range(2 * most + 1)]
        assert any(torch.equal(window, after) for window in windows)


def test_shifts_and_flips_are_as_likely_as_they_should_be():
    images = torch.zeros(20_000, 1, 5, 5)
    images[:, :, 2, 1] = 1
    out = augmented(images, Augment(shift=1, flip=True), torch.Generator().manual_seed(0))
    share = out.mean(dim=(0, 1))
    expected = torch.zeros(5, 5)
    expected[1:4] = torch.tensor([1, 1, 2, 1, 1]) / 18
    assert (share - expected).abs().max() < 5 * (1 / 9 / 20_000) ** 0.5


def test_augmentation_is_decided_by_its_generator():
    images = torch.rand(8, 1, 6, 6)
    one, two = (augmented(images, Augment(shift=2, flip=True), torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(flipped(flipped(images, torch.Generator().manual_seed(1)), torch.Generator().manual_seed(1)), images)
    assert augmented(images, Augment(), torch.Generator()) is images
