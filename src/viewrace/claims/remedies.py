"""What else was tried to bring a race to blocker-001, and why it did not, or only while it was held there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from viewrace.claims.base import Claim, Scale
from viewrace.claims.lab import Bench, Lab, Networks, Role
from viewrace.claims.verdict import Check, Verdict, at_least, at_most, within
from viewrace.config import Settings
from viewrace.measure import (
    Estimate,
    bootstrap,
    bootstrap_difference,
    centred,
    dominance,
    effective_rank,
    in_context_accuracy,
    margin,
    view_logits,
    view_shares,
    winner,
)
from viewrace.nets import Params, make_family
from viewrace.presets import REMEDIES, UNEQUAL, blocker_001, remedy
from viewrace.train import SoftLoss, averaged

__all__ = ["FACTORS", "Remedies"]

NETWORKS = {Scale.SMOKE: 2, Scale.QUICK: 3, Scale.FULL: 20}
WHOLE = {Scale.SMOKE: 0, Scale.QUICK: 1, Scale.FULL: 5}
EPOCHS = {Scale.SMOKE: 5, Scale.QUICK: 5, Scale.FULL: 100}
BOOST_EPOCHS = {Scale.SMOKE: 1, Scale.QUICK: 10, Scale.FULL: 100}
STUDENT_EPOCHS = {Scale.SMOKE: 1, Scale.QUICK: 10, Scale.FULL: 100}
FACTORS = (1.0, 2.0, 5.0, 10.0, 30.0, 100.0)
ERODES, LARGEST = 10.0, FACTORS[-1]
NAMED_SHARE = 0.95
BASE, HELD = "none", ("competition", "view-entropy")
CLEAR = 0.05
SAME = 0.02
SIGHTS = ("amplitude 1", "own strength", "probability")


class Remedies(Claim):
    id = "remedies"
    by_default = False
    by_root = True
    title = "Other remedies bring no race"
    statement = (
        "No remedy short of the race's own ingredients brings a race to blocker-001: coverage stays above 1/M, or falls because "
        "the intervention itself names the winner, or in the raw logit alone while a penalty holds it there."
    )
    source = "Experiments without a race, reported with dominance 0.34-0.41, and 0.57-0.61 under forced competition"
    protocol = (
        f"blocker-001 and one remedy each. Coverage by margin 0.1 at least 1/M + {CLEAR}; where a penalty acts on the very "
        "inputs that margin looks at, accuracy on fresh single-view examples in its place, and margin again after the same "
        "training without the penalty. Epochs 5, 5, 100 in place of 100, for the boost 1, 10, 100, for hard labels and "
        f"students 1, 10, 100; dominance without a remedy within {SAME} of that after all 100 (not at smoke). An init "
        f"scaled up by {ERODES:g} loses dominance in training; at {LARGEST:g} the view scaled up wins at least {NAMED_SHARE} of "
        "all races; KD from an ensemble lowers the strongest view's share. "
        "Networks per root seed: 2, 3, 20."
    )

    def applies(self, settings: Settings) -> str | None:
        return None if settings.data.source == "features" else "blocker-001 is defined for source = features"

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        whole = WHOLE[scale] * 100 / EPOCHS[scale]
        boosts = len(FACTORS) * BOOST_EPOCHS[scale] / EPOCHS[scale]
        groups = len(REMEDIES) + 1 + len(HELD) + 1 + 2 * STUDENT_EPOCHS[scale] / EPOCHS[scale]
        return roots * (NETWORKS[scale] * groups + whole + boosts)

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        parts = [_one_root(lab, root, scale).expand_dims(root=[root]) for root in lab.roots]
        return xr.concat(parts, dim="root").assign_attrs(views=blocker_001().data.views)

    def judge(self, data: xr.Dataset) -> Verdict:
        generator, floor = self._generator(data), 1 / int(data.attrs["views"]) + CLEAR
        checks = []
        for name in REMEDIES:
            measure, words = ("in_context", "single-view accuracy") if name in HELD else ("margin", "coverage by margin 0.1")
            found = _estimate(data[measure].sel(remedy=name), generator)
            checks.append(at_least(f"{name}: {words}", floor, found))
        for name in HELD:
            found = _estimate(data["margin_released"].sel(held=name), generator)
            checks.append(at_least(f"{name}, then without it: coverage by margin 0.1", floor, found))
        checks += self._others(data, generator)
        return self._verdict(data, checks, _curves(data, generator), _measures(data, generator))

    @staticmethod
    def _others(data: xr.Dataset, generator: np.random.Generator) -> list[Check]:
        checks = []
        if data.sizes.get("whole"):
            short = data["dominance"].sel(remedy=BASE)
            gap = bootstrap_difference(short, data["dominance_whole"], generator)
            checks.append(within("no remedy: dominance, fewer epochs minus 100", 0.0, gap, SAME))
        at = data.sel(factor=ERODES)
        eroded = _estimate(at["boost_after"] - at["boost_before"], generator)
        checks.append(at_most(f"init x {ERODES:g}: dominance after training minus before", 0.0, eroded))
        won = _estimate(data["boost_won"].sel(factor=LARGEST), generator)
        checks.append(at_least(f"init x {LARGEST:g}: races won by the view scaled up", NAMED_SHARE, won))
        first = {kind: data["shares"].sel(taught=kind, sight=SIGHTS[0]).isel(view5=0) for kind in ("hard", "kd")}
        lower = bootstrap_difference(first["hard"], first["kd"], generator)
        checks.append(at_least("strongest view's share, hard labels minus KD", 0.0, lower))
        return checks


def _trained_for(settings: Settings, epochs: int) -> Settings:
    """The settings with that many epochs of sgd; the gradient flow keeps its own number of evaluations."""
    if settings.train.method == "flow":
        return settings
    return settings.replace(**{"train.steps": epochs * settings.data.examples // settings.train.batch + 1})


def _one_root(lab: Lab, root: int, scale: Scale) -> xr.Dataset:
    groups = {}
    for name in (BASE, *REMEDIES):
        settings = _trained_for(blocker_001() if name == BASE else remedy(name), EPOCHS[scale])
        groups[name] = lab.members(lab.bench(root, settings), NETWORKS[scale])
    rows = {name: _measured(networks) for name, networks in groups.items()}
    columns: dict[str, Any] = {key: (("remedy", "seed"), np.stack([row[key] for row in rows.values()])) for key in rows[BASE]}
    columns["remedy"] = ("remedy", list(rows))
    columns |= _released(lab, root, scale, groups)
    if WHOLE[scale]:
        whole = lab.members(lab.bench(root, blocker_001()), WHOLE[scale])
        columns["dominance_whole"] = ("whole", dominance(whole.views.probes))
        columns["outcome_whole"] = ("whole", whole.trained.outcome.numpy())
    return xr.Dataset(columns | _boosts(lab, root, scale) | _unequal(lab, root, scale))


def _measured(networks: Networks) -> dict[str, Any]:
    probes = networks.views.probes
    return {
        "margin": margin(probes),
        "margin_centred": margin(centred(probes)),
        "in_context": in_context_accuracy(networks.views.single, networks.views.labels),
        "dominance": dominance(probes),
        "dominance_centred": dominance(centred(probes)),
        "effective_rank": effective_rank(probes),
        "train_accuracy": networks.trained.right.numpy(),
        "outcome": networks.trained.outcome.numpy(),
    }


def _released(lab: Lab, root: int, scale: Scale, groups: dict[str, Networks]) -> dict[str, Any]:
    """Networks trained under a penalty, trained on for as long without it."""
    bench = lab.bench(root, _trained_for(blocker_001(), EPOCHS[scale]))
    rows = []
    for name in HELD:
        start = groups[name].trained.params
        rows.append(_measured(lab.train(bench, f"released-{name}-{NETWORKS[scale]}", bench.family(), start, bench.hard_loss())))
    table = {f"{key}_released": (("held", "seed"), np.stack([row[key] for row in rows])) for key in ("margin", "dominance")}
    return {"held": ("held", list(HELD))} | table


def _boosts(lab: Lab, root: int, scale: Scale) -> dict[str, Any]:
    """One network a factor, all from one init but for the factor, before and after training."""
    bench = lab.bench(root, _trained_for(blocker_001(), BOOST_EPOCHS[scale]))
    starts = []
    for factor in FACTORS:
        net = bench.settings.replace(**{"net.boost": factor}).net
        starts.append(make_family(net, bench.settings.data).init(bench.generators(Role.MEMBER, 0, 1)))
    init: Params = {name: torch.cat([start[name] for start in starts]) for name in starts[0]}
    networks = lab.train(bench, "boosts", bench.family(), init, bench.hard_loss())
    before = view_logits(replace(networks.trained, params=init), bench.distribution)
    after = networks.views.probes
    return {
        "factor": ("factor", list(FACTORS)),
        "boost_before": ("factor", dominance(before)),
        "boost_after": ("factor", dominance(after)),
        "boost_margin": ("factor", margin(after)),
        "boost_won": ("factor", (winner(after) == 0).mean(axis=1)),
        "boost_in_context": ("factor", in_context_accuracy(networks.views.single, networks.views.labels)),
        "boost_share_before": ("factor", view_shares(before)[:, 0]),
        "boost_share_after": ("factor", view_shares(after)[:, 0]),
        "boost_weight_before": ("factor", _weight_share(init, 3)[:, 0]),
        "boost_weight_after": ("factor", _weight_share(networks.trained.params, 3)[:, 0]),
    }


def _weight_share(params: Params, views: int) -> Any:
    """(seed, view) norm of the first layer's weights on each view's slot over their sum."""
    norms = params["weight_0"].unflatten(2, (views, -1)).norm(dim=(1, 3))
    return (norms / norms.sum(dim=1, keepdim=True)).numpy()


def _unequal(lab: Lab, root: int, scale: Scale) -> dict[str, Any]:
    """Shares of views of unequal strength: untrained, on hard labels, and taught by the average of those networks."""
    settings = _trained_for(blocker_001().replace(**UNEQUAL), STUDENT_EPOCHS[scale])
    student = {"steps": settings.train.steps, "tolerance": 1e-6, "time": None}
    bench = lab.bench(root, settings.replace(distill=student))
    count, distill = NETWORKS[scale], bench.settings.distill
    teachers = lab.members(bench, count)
    init = bench.family().init(bench.generators(Role.STUDENT, 0, count))
    soft = averaged(teachers.trained.logits(bench.examples.inputs), distill.average)
    loss = SoftLoss.from_config(distill, bench.examples.labels, soft)
    students = lab.train(bench, f"student-{count}", bench.family(), init, loss, student=distill)
    hard = lab.train(bench, f"baseline-{count}", bench.family(), init, bench.hard_loss())
    blank = replace(hard.trained, params=init)
    kinds = {"untrained": blank, "hard": hard.trained, "kd": students.trained}
    shares = np.stack([_shares(bench, trained) for trained in kinds.values()])
    return {
        "shares": (("taught", "sight", "seed", "view5"), shares),
        "taught": ("taught", list(kinds)),
        "sight": ("sight", list(SIGHTS)),
        "gap_kd": ("seed", (students.trained.gap / loss.reference(count)).numpy()),
    }


def _shares(bench: Bench, trained: Any) -> Any:
    """(sight, seed, view) shares by logits at amplitude 1, by logits and by probabilities at each view's own strength."""
    strength = torch.tensor(bench.settings.data.view_strength).view(1, -1, 1, 1, 1)
    shown = bench.distribution.probes() * strength
    own: Tensor = trained.logits(shown.flatten(0, 2)).unflatten(1, shown.shape[:3])
    at_one = view_logits(trained, bench.distribution)
    return np.stack([view_shares(probes) for probes in (at_one, own, own.softmax(dim=-1))])


def _estimate(values: xr.DataArray, generator: np.random.Generator) -> Estimate:
    values = values.transpose("root", ...)
    roots = np.broadcast_to(values["root"].values.reshape(-1, *(1,) * (values.ndim - 1)), values.shape)
    return bootstrap(values.values, generator, roots)


def _series(name: str, points: list[Estimate]) -> dict[str, list[float]]:
    parts = {"estimate": "value", "low": "low", "high": "high"}
    return {f"{name}_{key}": [float(getattr(point, part)) for point in points] for key, part in parts.items()}


def _curves(data: xr.Dataset, generator: np.random.Generator) -> dict[str, list[float]]:
    curves: dict[str, list[float]] = {"factor": data["factor"].values.tolist(), "strength": list(UNEQUAL["data.strengths"])}
    for key in ("margin", "in_context", "dominance", "dominance_centred", "effective_rank"):
        curves |= _series(key, [_estimate(data[key].sel(remedy=name), generator) for name in data["remedy"].values])
    for key in (str(name) for name in data.data_vars if str(name).startswith("boost_")):
        curves |= _series(key, [_estimate(data[key].sel(factor=at), generator) for at in data["factor"].values])
    for kind in data["taught"].values:
        table = data["shares"].sel(taught=kind, sight=SIGHTS[0])
        curves |= _series(
            f"shares_{kind}", [_estimate(table.isel(view5=view), generator) for view in range(table.sizes["view5"])]
        )
    return curves


def _measures(data: xr.Dataset, generator: np.random.Generator) -> dict[str, Estimate]:
    found = {}
    for name in data["remedy"].values:
        for key in (
            "margin",
            "margin_centred",
            "in_context",
            "dominance",
            "dominance_centred",
            "effective_rank",
            "train_accuracy",
        ):
            found[f"{name}: {key.replace('_', ' ')}"] = _estimate(data[key].sel(remedy=name), generator)
    for name in data["held"].values:
        found[f"{name}, then without it: dominance"] = _estimate(data["dominance_released"].sel(held=name), generator)
    for kind in data["taught"].values:
        for sight in data["sight"].values:
            first = data["shares"].sel(taught=kind, sight=sight).isel(view5=0)
            found[f"strongest view's share, {kind}, {sight}"] = _estimate(first, generator)
    found["KD: gap left"] = _estimate(data["gap_kd"], generator)
    return found
