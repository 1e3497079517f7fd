"""Claim: half of a trained network's channels, drawn at random, is enough: learned features are multi-view."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from viewrace.claims.base import Claim, Scale
from viewrace.claims.deep_data import WIDTH
from viewrace.claims.deep_networks import EXPERIMENTS, Experiment
from viewrace.claims.deep_table import line, over_experiments, sets_at_hand, without
from viewrace.claims.lab import Lab
from viewrace.claims.verdict import Check, Verdict, at_least, at_most
from viewrace.config import Settings
from viewrace.data.images import ImageSet
from viewrace.measure import Estimate, bootstrap
from viewrace.nets.module import draw, stack
from viewrace.streams import Stream, torch_generator
from viewrace.train.members import Members

__all__ = ["FRACTIONS", "ChannelViews", "accuracy_of_heads", "fitted_heads"]

NETWORKS = {Scale.SMOKE: 1, Scale.QUICK: 2, Scale.FULL: 5}
"""Networks an experiment, of the members of the deep claims."""
FRACTIONS = (1.0, 0.5, 0.25, 0.125)
SETS = ("digits", "cifar10")
CHANNELS = 2 * WIDTH
LOSS = 0.05
OVER = 0.02
RIDGE = 1e-2
COST = 3.0
BATCH, PASSES = 100, 5
"""Of the training images, to set batch norm's running statistics of an untrained network."""


class ChannelViews(Claim):
    id = "channel-views"
    title = "Half of the channels is enough"
    statement = (
        "A trained network's channels, split in two at random: a linear head on each half is nearly as accurate as one on all "
        "of them, and more so than one on all channels of an untrained network."
    )
    source = "Allen-Zhu & Li, ICLR 2023, section 1 (channels of a trained network, split)"
    protocol = (
        f"The networks and images of the deep claims, digits and CIFAR-10 where it is at hand: the {CHANNELS} channels of the "
        "last convolution, after batch norm, ReLU and pooling, each its mean over places. A linear head by ridge regression "
        f"to the labels (ridge {RIDGE:g} of the mean square of a feature) on the training images, on a random split of the "
        "channels into 1, 2, 4, 8 parts; accuracy on the test images, the mean over parts. Judged with 95% intervals over "
        f"experiments: half of the channels costs at most {LOSS:g}, and is at least {OVER:g} above all channels of the same "
        "network before training. Networks an experiment 1, 2, 5; two experiments on each set and root seed."
    )
    by_default = False
    by_root = True

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return roots * EXPERIMENTS[scale] * len(SETS) * COST

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        sets, reason = sets_at_hand(lab.settings, SETS)
        parts = [over_experiments(lab, EXPERIMENTS[scale], partial(_one, lab, name, scale)) for name in sets]
        return xr.concat(parts, dim="set").assign_coords(set=sets).assign_attrs(left_out=reason)

    def judge(self, data: xr.Dataset) -> Verdict:
        generator = self._generator(data)

        def estimate(values: NDArray[np.float64]) -> Estimate:
            return bootstrap(values, generator, unit="experiments")

        checks: list[Check] = []
        curves: dict[str, list[float]] = {"fraction": list(FRACTIONS)}
        measures: dict[str, Estimate] = {}
        for name in data["set"].values.tolist():
            seen = {fraction: _each(data, name, "trained", fraction) for fraction in FRACTIONS}
            before = {fraction: _each(data, name, "untrained", fraction) for fraction in FRACTIONS}
            cost, over = seen[1.0] - seen[0.5], seen[0.5] - before[1.0]
            checks.append(at_most(f"{name}: all channels minus half of them", LOSS, estimate(cost)))
            above = estimate(over)
            checks.append(at_least(f"{name}: half of the channels minus all before training", OVER, above, clear_of=0.0))
            for kind, values in (("trained", seen), ("untrained", before)):
                points = {fraction: estimate(each) for fraction, each in values.items()}
                measures |= {f"{name}, {kind}: {fraction:g} of the channels": point for fraction, point in points.items()}
                curves |= line(f"{name}_{kind}", points.values())
        return without(self._verdict(data, checks, curves, measures), data)


def _each(data: xr.Dataset, name: str, kind: str, fraction: float) -> NDArray[np.float64]:
    """(experiment,) mean accuracy of its networks on one set, over all roots."""
    return np.asarray(data["accuracy"].sel(set=name, kind=kind, fraction=fraction).mean("network").values.ravel())


def _one(lab: Lab, name: str, scale: Scale, root: int, number: int) -> xr.Dataset:
    """Accuracy (kind, fraction, network) of heads on the channels of one experiment's networks."""
    experiment = Experiment(lab, name, scale, root, number)
    members = experiment.members().take(slice(0, NETWORKS[scale]))
    kinds = {"trained": members, "untrained": _untrained(experiment, members)}
    generator = torch_generator(experiment.root, Stream.FEATURES, 2)
    order = torch.stack([torch.randperm(CHANNELS, generator=generator) for _ in range(len(members))])
    train, test = experiment.data.train, experiment.data.test
    found = np.stack([_accuracies(kind, train, test, order) for kind in kinds.values()])
    lab.progress(COST)
    columns: dict[str, Any] = {"accuracy": (("kind", "fraction", "network"), found)}
    return xr.Dataset(columns, coords={"kind": list(kinds), "fraction": list(FRACTIONS)})


def _untrained(experiment: Experiment, members: Members) -> Members:
    """The same networks at their init, with batch norm's running statistics of the training images."""
    generators = [torch_generator(experiment.root, Stream.INIT, index) for index in range(len(members))]
    weights, buffers = stack(draw(experiment.data.factory, generators))
    inputs = (experiment.data.train.images - members.mean[:, None, None]) / members.deviation[:, None, None]
    with torch.no_grad():
        for part in inputs.repeat(PASSES, 1, 1, 1).split(BATCH):
            buffers = members.net.respond(weights, buffers, part, training=True, batched=members.batched)[1]
    return replace(members, weights=weights, buffers=buffers)


def _features(members: Members, images: Tensor) -> Tensor:
    """(member, example, channel): the mean of each channel over places, seen through a read-out that is the identity."""
    size, count = members.weights["head.weight"].shape[-1], len(members)
    head = {"head.weight": torch.eye(size).expand(count, -1, -1), "head.bias": torch.zeros(count, size)}
    seen = replace(members, weights=members.weights | head).logits(images)
    return seen.unflatten(-1, (CHANNELS, -1)).mean(dim=-1)


def _accuracies(members: Members, train: ImageSet, test: ImageSet, order: Tensor) -> NDArray[np.float64]:
    """(fraction, member) accuracy of heads on parts of the channels, the mean over the parts of a split."""
    seen = [_features(members, part.images).double() for part in (train, test)]
    rows = []
    for fraction in FRACTIONS:
        parts = [mine.chunk(round(1 / fraction)) for mine in order]
        rows.append(
            [
                float(np.mean([_head(seen[0][member][:, part], seen[1][member][:, part], train, test) for part in split]))
                for member, split in enumerate(parts)
            ]
        )
    return np.array(rows)


def _head(seen: Tensor, shown: Tensor, train: ImageSet, test: ImageSet) -> float:
    weight = fitted_heads(seen, train.labels, len(train.classes))
    return accuracy_of_heads(weight, shown, test.labels)


def fitted_heads(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """(feature + 1, class) ridge regression from features (example, feature) to one-hot labels, with an intercept, unpenalised.

    The penalty is RIDGE times the mean square of the centred features times the number of examples.
    """
    mean = features.mean(dim=0)
    centred = features - mean
    target = torch.nn.functional.one_hot(labels, classes).to(features.dtype)
    gram = centred.T @ centred
    penalty = RIDGE * gram.diagonal().mean().clamp(min=torch.finfo(features.dtype).tiny)
    slope = torch.linalg.solve(gram + penalty * torch.eye(len(gram), dtype=gram.dtype), centred.T @ (target - target.mean(dim=0)))
    return torch.cat([slope, (target.mean(dim=0) - mean @ slope)[None]])


def accuracy_of_heads(weight: Tensor, features: Tensor, labels: Tensor) -> float:
    """Fraction right of a head from `fitted_heads`."""
    said = features @ weight[:-1] + weight[-1]
    return float((said.argmax(dim=1) == labels).double().mean())
