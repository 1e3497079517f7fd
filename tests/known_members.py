"""Logits of members whose answer is known: some know a view, or all differ by noise about one answer."""

import numpy as np

CLASSES = 5


def views(seed: int = 0, members: int = 6, examples: int = 600, knows: float = 0.35, classes: int = CLASSES):
    """Half of the examples show one view, which a member knows with probability `knows`; the other half all."""
    rng, labels = np.random.default_rng(seed), np.arange(examples) % classes
    logits = 0.5 * rng.normal(size=(members, examples, classes))
    single = rng.random(examples) < 0.5
    known = np.where(single, rng.random((members, examples)) < knows, True)
    logits[:, np.arange(examples), labels] += np.where(known, 4.0, 0.0)
    return logits, labels


def noisy(seed: int = 0, members: int = 6, examples: int = 600, classes: int = CLASSES, noise: float = 1.2):
    """All members share one answer an example, and differ by Gaussian noise about it."""
    rng, labels = np.random.default_rng(seed), np.arange(examples) % classes
    mean = 1.5 * rng.normal(size=(examples, classes))
    mean[np.arange(examples), labels] += 2
    return mean + noise * rng.normal(size=(members, examples, classes)), labels
