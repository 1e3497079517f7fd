"""Ensembles of trees, as scikit-learn fits them, and one member-sized model alone or taught by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viewrace.data.images import ImageSet
from viewrace.streams import Stream, numpy_generator

__all__ = ["TREES", "Trees"]

Rows = NDArray[np.float64]
SEEDS = 2**31
DEPTH: dict[str, int | None] = {"AdaBoost": 4, "gradient boosting": 3, "bagging": None}
TREES = tuple(DEPTH)
LEAST = 1e-6
"""Probability below which an ensemble's word is not told apart from 0."""


class Trees:
    """One method's ensemble under a root seed, fitted to the training images of `pair`.

    A member is a tree; of gradient boosting it is a stage, a regression tree for each class. Everything that it says is logits
    (.., example, class) of the test images, of which only the order and, for probabilities, the softmax have a meaning.
    """

    def __init__(self, method: str, pair: tuple[ImageSet, ImageSet], root: int, count: int):
        self.method, self.classes = method, len(pair[0].classes)
        self.seen, self.fresh = (part.images.flatten(1).numpy() for part in pair)
        self.seeds = numpy_generator(root, Stream.INIT, TREES.index(method))
        self.hard = np.eye(self.classes)[pair[0].labels.numpy()]
        self.ensemble = _ensemble(method, count, self._seed()).fit(self.seen, pair[0].labels.numpy())

    def by_size(self) -> Tensor:
        """(size, example, class) what the first 1, 2, .. members say together of the test images."""
        if self.method == "bagging":
            votes = np.stack([tree.predict_proba(self.fresh) for tree in self.ensemble.estimators_])
            return torch.from_numpy(votes.cumsum(axis=0) / np.arange(1, len(votes) + 1)[:, None, None])
        return torch.from_numpy(np.stack(list(self.ensemble.staged_predict_proba(self.fresh))))

    def members(self, count: int) -> Tensor:
        """(member, example, class) what each of the first members says by itself."""
        first = self.ensemble.estimators_[:count]
        if self.method == "gradient boosting":
            return torch.from_numpy(np.stack([_stage(trees, self.fresh) for trees in first]))
        return torch.from_numpy(np.stack([tree.predict_proba(self.fresh) for tree in first]))

    def alone(self, count: int) -> Tensor:
        """(model, example, class) models of a member's size fitted to the labels, on all the training images."""
        return self._fitted(self.hard, count)

    def taught(self, count: int, temperature: float, alpha: float) -> Tensor:
        """(student, example, class) the same, fitted to alpha times the ensemble's probabilities at a temperature plus (1 -
        alpha) times the labels."""
        said = np.log(self.ensemble.predict_proba(self.seen).clip(LEAST)) / temperature
        soft = torch.from_numpy(said).softmax(dim=1).numpy()
        return self._fitted(alpha * soft + (1 - alpha) * self.hard, count)

    def _fitted(self, targets: Rows, count: int) -> Tensor:
        """Regression trees: on labels as 0 and 1 the least squared error is the Gini index of a classification tree."""
        from sklearn.tree import DecisionTreeRegressor

        def tree(of: Rows) -> Any:
            return DecisionTreeRegressor(max_depth=DEPTH[self.method], random_state=self._seed()).fit(self.seen, of)

        said = []
        for _ in range(count):
            if self.method == "gradient boosting":
                said.append(_stage([tree(column) for column in targets.T], self.fresh))
            else:
                said.append(tree(targets).predict(self.fresh))
        return torch.from_numpy(np.stack(said))

    def _seed(self) -> int:
        return int(self.seeds.integers(SEEDS))


def _stage(trees: Any, inputs: Rows) -> Rows:
    return np.stack([tree.predict(inputs) for tree in trees], axis=1)


def _ensemble(method: str, count: int, seed: int) -> Any:
    from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, GradientBoostingClassifier
    from sklearn.tree import DecisionTreeClassifier

    depth = DEPTH[method]
    makers: dict[str, Callable[[], Any]] = {
        "AdaBoost": lambda: AdaBoostClassifier(DecisionTreeClassifier(max_depth=depth), n_estimators=count, random_state=seed),
        "gradient boosting": lambda: GradientBoostingClassifier(
            n_estimators=count, learning_rate=0.3, max_depth=depth, random_state=seed
        ),
        "bagging": lambda: BaggingClassifier(DecisionTreeClassifier(), n_estimators=count, random_state=seed),
    }
    return makers[method]()
