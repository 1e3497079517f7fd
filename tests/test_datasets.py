"""Data set objects in the manner of torchvision and Hugging Face: what they hold is given, what is amiss is named."""

import numpy as np
import pytest
import torch

from viewrace.data.images import from_dataset

CLASSES = ("ant", "bee", "cat")
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
PIXELS = np.random.default_rng(0).integers(0, 256, (10, 3, 8, 8), dtype=np.uint8)


def agree(data) -> None:
    assert torch.equal(data.images, torch.from_numpy(PIXELS.astype(np.float32) / 255))
    assert data.labels.tolist() == LABELS.tolist()
    assert data.classes == CLASSES


class Pairs:
    """A data set in the manner of torchvision."""

    def __init__(self, items, classes=CLASSES):
        self.items, self.classes = items, classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, row):
        item = self.items[row]
        return item() if callable(item) else item


class Feature:
    names = CLASSES


class Hub(Pairs):
    """A data set in the manner of Hugging Face."""

    features = {"image": None, "label": Feature()}  # noqa: RUF012 (as there)


def test_data_set_objects_give_what_they_hold():
    image = pytest.importorskip("PIL.Image")
    labels = [int(label) for label in LABELS]
    pictures = [image.fromarray(pixels.transpose(1, 2, 0)) for pixels in PIXELS]
    tensors = [torch.from_numpy(pixels / np.float32(255)) for pixels in PIXELS]
    agree(from_dataset(Pairs(list(zip(pictures, labels, strict=True)))))
    agree(from_dataset(Pairs(list(zip(tensors, LABELS, strict=True)))))
    agree(from_dataset(Pairs(list(zip(PIXELS.transpose(0, 2, 3, 1), torch.from_numpy(LABELS), strict=True)))))
    agree(from_dataset(Hub([{"image": picture, "label": label} for picture, label in zip(pictures, labels, strict=True)])))


def test_bad_data_set_objects_are_refused(refusal):
    steady = (torch.zeros(1, 4, 4), 0)
    random = Pairs([lambda: (torch.rand(1, 4, 4), 0)] * 3)
    for data, words in [
        (random, "the same image each time"),
        (Pairs([]), "an empty Pairs"),
        (iter([steady]), "must have a length"),
        (Pairs([steady, (torch.zeros(1, 5, 5), 1)]), "must have one shape"),
        (Pairs([(torch.zeros(1, 4, 4), "cat")]), "must be a whole number, received 'cat'"),
        (Pairs([(torch.zeros(1, 4, 4), 3)]), "labels must lie in 0..2"),
        (Pairs([torch.zeros(4)]), "must be an (image, label) pair"),
        (Pairs([{"text": "a"}]), "an item must have image"),
        (Pairs([lambda: 1 / 0]), "failed to give item 0 (division by zero)"),
        (Pairs([(torch.full((1, 4, 4), torch.nan), 0)]), "pixels must be finite"),
        (Pairs([(torch.zeros(4, 4, dtype=torch.int64), 0)]), "uint8 or floats"),
    ]:
        assert words in refusal(from_dataset, data)
