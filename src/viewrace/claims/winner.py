"""Claim: the winner is told before training, from the initial weights and the data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from viewrace.claims.base import Claim, Scale
from viewrace.claims.lab import Bench, Lab, Role
from viewrace.claims.verdict import Check, Verdict, at_least, at_most
from viewrace.config import Settings
from viewrace.measure import Estimate, percentiles, success_share, winner
from viewrace.race import RULES, Start, calibration_error, choose, fit_calibration, fit_weights, log_advantage, predict, start_of

__all__ = ["CEILING", "UNEQUAL", "Winner"]

NETWORKS = {Scale.SMOKE: 20, Scale.QUICK: 70, Scale.FULL: 200}
PILOTS = {Scale.SMOKE: 10, Scale.QUICK: 30, Scale.FULL: 60}
POWERS = {Scale.SMOKE: (3, 4), Scale.QUICK: (3, 4, 5), Scale.FULL: (3, 4, 5)}
UNEQUAL = 0.05
"""With unequal strengths view m is weaker by this times m (m = 0, 1, ...)."""
ACCURACY = 0.97
CALIBRATION = 0.03
HEADLINE = "q=4, equal"
CEILING = "logistic"
RESAMPLES = 500
LEAD_BINS = 12


class Winner(Claim):
    id = "winner"
    title = "Which view wins, told before training"
    statement = "The view that a network will learn is told from its initial weights and the data, by the largest advantage."
    source = "Allen-Zhu & Li, ICLR 2023, the lottery-winning set (M = 2); any M by the power-law race; Saxe et al., ICML 2022"
    protocol = (
        "For each seed and class the rules name a view before training; it is compared with the strongest view after training. "
        f"q = 3, 4, 5 (smoke: 3, 4), all views equally strong, or view m weaker by {UNEQUAL:g} m. The slope of the probability "
        "and the logistic ceiling (all advantages at once) are fitted on other networks, of the first root seed alone. Judged at "
        f"q = 4 with equal strengths: the growth rule is right in at least {ACCURACY:g} of the (seed, class) pairs, and its "
        f"calibration error is at most {CALIBRATION:g}. Networks per setting and root seed: 20, 70, 200; for the fits 10, 30, 60."
    )
    by_default = False

    def applies(self, settings: Settings) -> str | None:
        if settings.net.family != "patch":
            return f"family {settings.net.family} has no correlation of a neuron with a view"
        return None if settings.data.views > 1 else "one view per class leaves nothing to tell"

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return 2 * sum(_COST[q] for q in POWERS[scale]) * (roots * NETWORKS[scale] + PILOTS[scale])

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        names, parts = [], []
        for name, settings in _variants(lab.settings, scale):
            parts.append(_one_setting(lab, settings, scale))
            names.append(name)
        return xr.concat(parts, dim="setting").assign_coords(setting=names)

    def judge(self, data: xr.Dataset) -> Verdict:
        generator = self._generator(data)
        head = data.sel(setting=HEADLINE)
        error = _calibration(head, generator)
        checks: list[Check] = [
            at_least(f"{HEADLINE}: accuracy of the growth rule", ACCURACY, _accuracy(head, "growth", generator), law=1.0),
            at_most(f"{HEADLINE}: calibration error", CALIBRATION, error),
        ]
        return self._verdict(data, checks, _curves(data, generator))


_COST = {3: 0.4, 4: 1.0, 5: 3.4}


def _variants(base: Settings, scale: Scale) -> Iterator[tuple[str, Settings]]:
    for q in POWERS[scale]:
        for kind in ("equal", "unequal"):
            falling = tuple(1 - UNEQUAL * view for view in range(base.data.views))
            strengths = falling if kind == "unequal" else None
            yield f"q={q}, {kind}", base.replace(**{"net.q": q, "data.strengths": strengths})


def _one_setting(lab: Lab, settings: Settings, scale: Scale) -> xr.Dataset:
    cost, count = _COST[settings.net.q], PILOTS[scale]
    bench = lab.bench(lab.roots[0], settings)
    generators = bench.generators(Role.PILOT, 0, count)
    pilots = lab.train(bench, f"pilot-{count}", bench.family(), generators, bench.hard_loss(), cost=cost)
    advantage = _advantages(_start(bench, Role.PILOT, count))
    won = winner(pilots.views.probes)
    calibration, weights = fit_calibration(advantage[..., 0], won), fit_weights(advantage, won)
    parts = []
    for root in lab.roots:
        bench = lab.bench(root, settings)
        networks = lab.members(bench, NETWORKS[scale], cost=cost)
        advantage = _advantages(_start(bench, Role.MEMBER, len(networks)))
        prediction = predict(advantage[..., 0], calibration)
        chosen = np.concatenate([advantage.argmax(axis=2), choose(advantage, weights)[..., None]], axis=-1)
        columns: dict[str, Any] = {
            "winner": (("seed", "label"), winner(networks.views.probes)),
            "predicted": (("seed", "label", "rule"), chosen),
            "probability": (("seed", "label"), prediction.probability.max(axis=-1)),
            "lead": (("seed", "label"), prediction.lead),
            "outcome": ("seed", networks.trained.outcome.numpy()),
        }
        parts.append(xr.Dataset(columns).expand_dims(root=[root]))
    data = xr.concat(parts, dim="root").assign_coords(rule=[*RULES, CEILING])
    return data.assign(slope=calibration.slope, lapse=calibration.lapse)


def _start(bench: Bench, role: Role, count: int) -> Start:
    family = bench.family()
    params = family.init(bench.generators(role, 0, count))
    return start_of(family, params, bench.examples, bench.distribution.features)


def _advantages(start: Start) -> NDArray[np.float64]:
    """(seed, class, view, rule)."""
    return np.stack([log_advantage(start, rule).numpy() for rule in RULES], axis=-1)


def _right(data: xr.Dataset, rule: str) -> NDArray[np.float64]:
    """(root, seed, class) whether the rule told the winner; a class without a winner is wrong."""
    right = (data["predicted"].sel(rule=rule) == data["winner"]).transpose("root", "seed", "label")
    return np.asarray(right.values, dtype=np.float64)


def _accuracy(data: xr.Dataset, rule: str, generator: np.random.Generator) -> Estimate:
    each = _right(data, rule).mean(axis=2)
    return success_share(each, generator, np.broadcast_to(data["root"].values[:, None], each.shape))


def _calibration(data: xr.Dataset, generator: np.random.Generator) -> Estimate:
    right = _right(data, "growth").reshape(-1, data.sizes["label"])
    stated = data["probability"].transpose("root", "seed", "label").values.reshape(right.shape)
    picks = generator.integers(len(right), size=(RESAMPLES, len(right)))
    values = [calibration_error(stated[rows], right[rows]) for rows in picks]
    return percentiles(calibration_error(stated, right), values, len(right))


def _curves(data: xr.Dataset, generator: np.random.Generator) -> dict[str, list[float]]:
    curves: dict[str, list[float]] = {}
    for rule in data["rule"].values.tolist():
        points = [_accuracy(data.isel(setting=i), rule, generator) for i in range(data.sizes["setting"])]
        curves |= {
            f"{rule}_estimate": [point.value for point in points],
            f"{rule}_low": [point.low for point in points],
            f"{rule}_high": [point.high for point in points],
        }
    curves["calibration_error"] = [_calibration(data.isel(setting=i), generator).value for i in range(data.sizes["setting"])]
    return curves | _by_lead(data.sel(setting=HEADLINE), generator)


def _by_lead(data: xr.Dataset, generator: np.random.Generator) -> dict[str, list[float]]:
    """How often the growth rule was right among pairs of similar lead, and what it had stated."""
    lead = data["lead"].transpose("root", "seed", "label").values.ravel()
    right, order = _right(data, "growth").ravel(), np.argsort(lead)
    stated = data["probability"].transpose("root", "seed", "label").values.ravel()
    groups = np.array_split(order, LEAD_BINS * 4)
    groups = [*groups[:LEAD_BINS], *(np.concatenate(groups[i : i + 4]) for i in range(LEAD_BINS, 4 * LEAD_BINS, 4))]
    points = [success_share(right[group], generator, unit="pairs") for group in groups]
    return {
        "lead": [float(lead[group].mean()) for group in groups],
        "right_estimate": [point.value for point in points],
        "right_low": [point.low for point in points],
        "right_high": [point.high for point in points],
        "stated": [float(stated[group].mean()) for group in groups],
    }
