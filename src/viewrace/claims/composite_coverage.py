"""Claim: on composite images one network learns some of the views, an ensemble collects them, a student keeps them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from viewrace.claims.base import Claim, Scale
from viewrace.claims.composite_nets import channels_net
from viewrace.claims.deep_data import digit_pools, experiment_root
from viewrace.claims.deep_table import line, over_experiments, share_kept
from viewrace.claims.lab import Lab
from viewrace.claims.verdict import Check, Verdict, at_least, at_most
from viewrace.config import Settings
from viewrace.data.composite import CompositeConfig, Composites
from viewrace.measure import Estimate, bootstrap, composite_views, dominance, in_context_accuracy, margin, seed_diversity, winner
from viewrace.measure.coverage import Views
from viewrace.train import Outcome
from viewrace.train.members import MemberConfig, train_members

__all__ = ["CompositeCoverage"]

EXPERIMENTS = {Scale.SMOKE: 2, Scale.QUICK: 2, Scale.FULL: 4}
MEMBERS, STUDENTS, VIEWS = 8, 2, 3
EXAMPLES, TEST = 500, 1000
RHO, WIDTH, INIT = 1.0, 8, 0.1
STUDENT_WIDTH, STUDENT_INIT = 16, 0.15
TEMPERATURE = 4.0
EPOCHS = {Scale.SMOKE: 40, Scale.QUICK: 60, Scale.FULL: 120}
LONGER = 2.5
ACTIVATIONS = {"power": (4, 1.0), "relu": (1, 0.3)}
"""Power of the activation, and the learning rate."""
GROUPS = ("single", "ensemble", "distilled", "hard")
LOST, GAIN, MOST, NOTHING, DIVERSE, KNOWN = 0.6, 0.15, 0.5, 0.05, 0.7, 0.8
COST = 1.0


class CompositeCoverage(Claim):
    id = "composite-coverage"
    title = "Views of composite images"
    statement = (
        "Trained on composite images with a power activation, one network knows some of the views, which ones is a matter of "
        "its seed, an ensemble knows more and a student keeps much of that; with plain ReLU one network knows nearly all."
    )
    source = "Allen-Zhu & Li, ICLR 2023; composite images after Chidambaram et al., ICML 2023"
    protocol = (
        f"{EXAMPLES} images of {VIEWS} digits of a class as channels, none of them single-view; each channel has filters of its "
        "own, as large as the picture, without bias, so that a blank one says nothing; power activation q = 4 or plain ReLU, SGD "
        "for 40, 60, 120 epochs. Coverage by margin 0.1 with all views but one blank, on digits never trained on. "
        f"{MEMBERS} networks an ensemble; {STUDENTS} students of it with {STUDENT_WIDTH} filters a class and channel in place of "
        f"{WIDTH} and init {STUDENT_INIT:g} in place of {INIT:g}, at temperature {TEMPERATURE:g}, trained {LONGER:g} times as "
        "long, beside the same on hard labels; 2, 2, 4 experiments a root seed with images and inits of their own. Judged with "
        f"95% intervals over experiments. Power: one network covers at most {LOST:g}, the ensemble at least {GAIN:g} more; "
        "students cover at least 0 more than their twins on hard labels with the interval above 0, and keep at least "
        f"{MOST:g} of what the ensemble has over these twins; the entropy of winners over seeds is at least {DIVERSE:g} of a "
        f"fair lottery's. ReLU: one network covers at least {KNOWN:g}, the ensemble gains at most {NOTHING:g}."
    )
    by_default = False
    by_root = True

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return COST * roots * EXPERIMENTS[scale] * len(ACTIVATIONS)

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        parts = [over_experiments(lab, EXPERIMENTS[scale], partial(_one, lab, name, scale)) for name in ACTIVATIONS]
        return xr.concat(parts, dim="activation").assign_coords(activation=list(ACTIVATIONS))

    def judge(self, data: xr.Dataset) -> Verdict:
        generator = self._generator(data)
        power, relu = ({group: _each(data, name, group) for group in GROUPS} for name in ACTIVATIONS)

        def estimate(values: NDArray[np.float64]) -> Estimate:
            return bootstrap(values, generator, unit="experiments")

        diversity = np.asarray(data["diversity"].sel(activation="power").values.ravel())
        beyond = estimate(power["distilled"] - power["hard"])
        kept = share_kept(power | {"single": power["hard"]}, generator)
        checks: list[Check] = [
            at_most("q = 4: coverage of one network", LOST, estimate(power["single"])),
            at_least(f"q = 4: ensemble of {MEMBERS} minus one network", GAIN, estimate(power["ensemble"] - power["single"])),
            at_least("q = 4: student minus the same on hard labels", 0.0, beyond, clear_of=0.0),
            at_least("q = 4: share of the ensemble's lead over hard labels kept", MOST, kept, clear_of=0.0),
            at_least("q = 4: diversity of winners over seeds", DIVERSE, estimate(diversity), law=1.0),
            at_least("plain ReLU: coverage of one network", KNOWN, estimate(relu["single"])),
            at_most(f"plain ReLU: ensemble of {MEMBERS} minus one network", NOTHING, estimate(relu["ensemble"] - relu["single"])),
        ]
        curves: dict[str, list[float]] = {}
        measures: dict[str, Estimate] = {}
        for name in ACTIVATIONS:
            for measure in ("margin", "in_context", "dominance"):
                points = [estimate(_each(data, name, group, measure)) for group in GROUPS]
                measures |= {f"{name}, {measure}: {group}": point for group, point in zip(GROUPS, points, strict=True)}
                curves |= line(f"{measure}_{name}", points)
        return self._verdict(data, checks, curves, measures)


def _one(lab: Lab, activation: str, scale: Scale, root: int, number: int) -> xr.Dataset:
    """The four groups of one experiment: coverage and what goes with it, the mean over the networks of a group."""
    own = experiment_root(root, number)
    config = CompositeConfig(views=VIEWS, examples=EXAMPLES, test_examples=TEST)
    composites = Composites(*digit_pools(own, 1200), config, own)
    views, winners, outcome = _trained(composites, activation, scale, own)
    lab.progress(COST)
    columns: dict[str, Any] = {
        "margin": ("group", [margin(seen.probes).mean() for seen in views]),
        "in_context": ("group", [in_context_accuracy(seen.single, seen.labels).mean() for seen in views]),
        "dominance": ("group", [dominance(seen.probes).mean() for seen in views]),
        "winner": (("seed", "label"), winners),
        "diversity": seed_diversity(winners, VIEWS).mean(),
        "outcome": ("network", outcome),
    }
    return xr.Dataset(columns, coords={"group": list(GROUPS)})


def _trained(
    composites: Composites, activation: str, scale: Scale, root: int
) -> tuple[list[Views], NDArray[np.int64], NDArray[np.int64]]:
    """What single networks, their ensemble, students and hard-label students make of single views; winners; outcomes."""
    data = composites.train().as_images()
    q, rate = ACTIVATIONS[activation]
    config = MemberConfig(
        epochs=EPOCHS[scale],
        batch=100,
        rate=rate,
        nesterov=False,
        weight_decay=0.0,
        warmup=0.0,
        normalise=False,
        engine="batched",
    )
    small = channels_net(data.shape, len(data.classes), WIDTH, q, INIT, RHO)
    large = channels_net(data.shape, len(data.classes), STUDENT_WIDTH, q, STUDENT_INIT, RHO)
    members = train_members(small, data, config, MEMBERS, root)
    longer = config.replace(epochs=round(LONGER * config.epochs))
    students = [
        train_members(large, data, longer, STUDENTS, root, start=MEMBERS, teacher=teacher, temperature=TEMPERATURE)
        for teacher in (members, None)
    ]
    views = [composite_views(group, composites) for group in (members, *students)]
    lost = torch.cat([group.diverged for group in (members, *students)])
    outcome = torch.where(lost, int(Outcome.DIVERGED), int(Outcome.CONVERGED)).numpy()
    return [views[0], views[0].average(), *views[1:]], winner(views[0].probes), outcome


def _each(data: xr.Dataset, activation: str, group: str, measure: str = "margin") -> NDArray[np.float64]:
    """(experiment,) over all roots."""
    return np.asarray(data[measure].sel(activation=activation, group=group).values.ravel())
