"""Patches of digits show real ones of their class, and no test digit is ever trained on."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from draws import DIGITS, FLAT, distribution
from viewrace.data import Distribution, Examples


class Pictures:
    """Scikit-learn's digits with the mean removed and unit norm, recognised under whatever permutation a view has.

    A view permutes the pixels of all pictures alike. So sorting the pixels (columns) of the same known pictures by their
    values undoes the permutation, up to pixels that are alike in all of them.
    """

    def __init__(self, drawn: Distribution):
        bunch = load_digits()
        pictures = bunch.data - bunch.data.mean(axis=1, keepdims=True)
        pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)
        self.digit = bunch.target
        galleries = [drawn.source.gallery("train", 10_000), drawn.source.gallery("test", 10_000)]
        known = torch.cat(galleries, dim=2).transpose(0, 1).flatten(1, 2).numpy()
        rows = nearest(np.sort(known[0], axis=1), np.sort(pictures, axis=1))
        self._orders = [np.lexsort(view) for view in known]
        columns = known[0][:, self._orders[0]]
        self._alike = np.concatenate([[0], np.diff(columns, axis=1).any(axis=0).cumsum()])
        self._plain = self._ordered(pictures, np.lexsort(pictures[rows]))

    def _ordered(self, pictures: np.ndarray, order: np.ndarray) -> np.ndarray:
        pictures = pictures[:, order]
        groups = np.broadcast_to(self._alike, pictures.shape)
        return np.take_along_axis(pictures, np.lexsort((pictures, groups)), axis=1)

    def identify(self, shown: np.ndarray, view: int) -> np.ndarray:
        """Which picture each unit vector shows under the permutation of `view`; fails where it shows none."""
        return nearest(self._ordered(shown, self._orders[view]), self._plain)


def nearest(some: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The row of `known` that each row of `some` is equal to; fails where there is none."""
    similarity = some @ known.T
    np.testing.assert_allclose(similarity.max(axis=1), 1.0, atol=1e-6)
    return similarity.argmax(axis=1)


def shown_digits(drawn: Distribution, pictures: Pictures, examples: Examples) -> set[int]:
    """Identify what every patch shows, check it against the patch's ground truth, and return the pictures used."""
    used: set[int] = set()
    spread = drawn.config.patches_per_feature
    for feature in range(12):
        rows, places = (examples.patch_feature == feature).nonzero(as_tuple=True)
        share = examples.amplitude.flatten(1)[rows, feature, None] / spread
        found = pictures.identify((examples.inputs[rows, places] / share).numpy(), view=feature % 3)
        assert (pictures.digit[found] == feature // 3).all()
        used |= set(found.tolist())
    assert (examples.inputs[examples.patch_feature == -1] == 0).all()
    return used


@pytest.mark.parametrize("spread", [1, 2])
def test_a_digit_patch_shows_a_real_digit_of_its_class_and_no_test_digit_is_ever_trained_on(spread):
    drawn = distribution(DIGITS, patches_per_feature=spread, patches=27, examples=200, test_examples=200, mu=0.5)
    pictures = Pictures(drawn)
    trained = shown_digits(drawn, pictures, drawn.train())
    tested = shown_digits(drawn, pictures, drawn.test()) | shown_digits(drawn, pictures, drawn.test_single())
    probes = drawn.probes().sum(dim=3)
    for label in range(4):
        for view in range(3):
            found = pictures.identify(probes[label, view].numpy(), view)
            assert (pictures.digit[found] == label).all()
            tested |= set(found.tolist())
    assert len(trained) > 300
    assert len(tested) > 200
    assert not trained & tested


def test_a_flat_example_of_one_view_is_one_digit_of_its_class():
    drawn = distribution(DIGITS, FLAT, distractors=0.0, views=1, p=1.0)
    examples = drawn.train()
    shown = examples.inputs[:, 0] / examples.own_amplitude
    digits = load_digits()
    plain = digits.data - digits.data.mean(axis=1, keepdims=True)
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    found = nearest(np.sort(shown.numpy(), axis=1), np.sort(plain, axis=1))
    assert (digits.target[found] == examples.labels.numpy()).all()
