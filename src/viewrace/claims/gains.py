"""The gain of an ensemble with its interval, under one root seed, and pooled over root seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from viewrace.auditing.pilot import right_of
from viewrace.auditing.spread import group_sums, groups_of, left_out, spread
from viewrace.auditing.table import subsets
from viewrace.claims.lab import Lab
from viewrace.data.images import ImageSet, load_images
from viewrace.measure import Estimate
from viewrace.streams import Stream, torch_generator

__all__ = ["DIGITS", "ENDS", "by_root", "columns", "digits_of", "ends", "ensemble_gain", "gain_by_size", "gain_over", "pooled"]

Row = NDArray[np.float64]
ENDS = ("value", "low", "high")
DIGITS = 1797
"""Images in scikit-learn's set of digits."""


def digits_of(root: int, count: int) -> tuple[ImageSet, ImageSet]:
    """scikit-learn's 1,797 digits: `count` drawn under the root seed to train on, and all others to test on.

    Two root seeds have the share len(test) / DIGITS of their test images in common, on average.
    """
    parts = [load_images("digits", split) for split in ("train", "test")]
    images, labels = torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])
    order = torch.randperm(len(labels), generator=torch_generator(root, Stream.TRAIN))
    every = ImageSet(images, labels, parts[0].classes)
    return every.take(order[:count]), every.take(order[count:])


def ensemble_gain(logits: Tensor, labels: Tensor, generator: np.random.Generator) -> Estimate:
    """Accuracy of the averaged logits less the mean accuracy of the members, of logits (member, example, class)."""
    total, members = logits.sum(dim=0), len(logits)
    ensemble, without = right_of(total, labels), right_of(total - logits, labels)
    return _gain(np.stack([ensemble, *without, *right_of(logits, labels)]), members, labels, generator)


def gain_over(ensemble: Row, single: Row, labels: Tensor, generator: np.random.Generator) -> Estimate:
    """The same of an ensemble (example,) of other models than the single ones (model, example); 1 is right and 0 wrong."""
    return _gain(np.stack([ensemble, *([ensemble] * len(single)), *single]), len(single), labels, generator)


def _gain(right: Row, members: int, labels: Tensor, generator: np.random.Generator) -> Estimate:
    """right: the ensemble, the ensemble without each member, each member."""
    group = groups_of(labels, generator)
    columns = group_sums(np.vstack([np.ones(len(labels)), right]), group)

    def at(left: int | None, member: int | None) -> float:
        count, whole, *others = left_out(columns, left)
        ensemble = whole if member is None else others[member]
        single = [one for index, one in enumerate(others[members:]) if index != member]
        return float((ensemble - np.mean(single)) / count)

    return spread(at, columns.shape[1], members, len(labels))


def gain_by_size(logits: Tensor, labels: Tensor, sizes: Sequence[int], generator: np.random.Generator) -> list[float]:
    """Mean accuracy over ensembles of each size, less that of one member."""
    levels = []
    for size in (1, *sizes):
        chosen = subsets(len(logits), size, generator)
        levels.append(float(np.mean([right_of(logits[list(subset)].mean(dim=0), labels).mean() for subset in chosen])))
    return [level - levels[0] for level in levels[1:]]


def ends(estimate: Estimate) -> list[float]:
    """The estimate as a column over `ENDS`."""
    return [estimate.value, estimate.low, estimate.high]


def by_root(lab: Lab, dim: str, names: Sequence[str], units: float, measure: Callable[[str, int], xr.Dataset]) -> xr.Dataset:
    """What `measure(name, root)` finds, over the root seeds of the lab and `names` as `dim`; each is `units` of work."""
    parts = []
    for root in lab.roots:
        rows = []
        for name in names:
            rows.append(measure(name, root))
            lab.progress(units)
        parts.append(xr.concat(rows, dim=dim).assign_coords({dim: list(names)}))
    return xr.concat(parts, dim="root").assign_coords(root=list(lab.roots))


def columns(name: str, points: Sequence[Estimate]) -> dict[str, list[float]]:
    """Estimates as the curves `name`_estimate, `name`_low and `name`_high of a verdict."""
    rows = np.array([ends(point) for point in points]).T.tolist()
    return {f"{name}_{part}": row for part, row in zip(("estimate", "low", "high"), rows, strict=True)}


def pooled(part: xr.DataArray, examples: int, overlap: float = 0.0) -> Estimate:
    """Mean over root seeds of estimates (root, end), each with its own interval, of `examples` test examples in each.

    The interval speaks of these root seeds. overlap: the share of their test examples that two root seeds have in common, and
    so at the most the correlation of their errors: the half-width is the root mean square of theirs times sqrt((1 + (roots - 1)
    overlap) / roots).
    """
    value, low, high = part.transpose("root", "end").values.T
    roots = len(value)
    half = float(np.sqrt(np.square((high - low) / 2).mean() * (1 + (roots - 1) * overlap) / roots))
    at = float(value.mean())
    return Estimate(at, at - half, at + half, examples * roots, f"jackknife, {roots} root seeds")
