"""Claim: how much of a head start makes up for a weaker view."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from viewrace.claims.base import Claim, Scale
from viewrace.claims.lab import Lab, Role
from viewrace.claims.verdict import Verdict, within
from viewrace.config import Settings
from viewrace.measure import Estimate, percentiles, winner
from viewrace.race import fit_weights, start_of

__all__ = ["Exponent"]

NETWORKS = {Scale.SMOKE: 8, Scale.QUICK: 16, Scale.FULL: 60}
POWERS = {Scale.SMOKE: (3, 4), Scale.QUICK: (3, 4, 5), Scale.FULL: (3, 4, 5)}
FACTORS = (1.0, 1.5, 2.25, 3.375)
"""By how much S = E[z^q] of view 0 is larger than that of the others; its amplitude by the q-th root."""
TOLERANCE = 0.1
RESAMPLES = 300
TINY = 1e-30


class Exponent(Claim):
    id = "exponent"
    title = "The price of a weaker view"
    statement = "A view whose strength is larger by f is balanced by a lead of f^(1/(q-2)) in the initial correlation."
    source = "Allen-Zhu & Li, ICLR 2023, the lottery-winning set; the power-law race da/dt = S a^(q-1)"
    protocol = (
        "One view of every class has S = E[z^q] larger by f = 1, 1.5, 2.25, 3.375. Over all networks and classes the winner is "
        "fitted by P(view) ~ max_r(a)^beta S^(beta e): e is the exponent, its interval from resampling networks. No feature "
        f"noise, so that S alone makes views unequal. e within {TOLERANCE:g} of 1/(q-2), as a fraction of it, for q = 3, 4, 5 "
        "(smoke: 3, 4). Networks per q, f and root seed: 8, 16, 60."
    )
    by_default = False
    by_root = True

    def applies(self, settings: Settings) -> str | None:
        if settings.net.family != "patch" or settings.data.source != "features":
            return "the claim is defined for patch networks with source = features"
        return None if settings.data.views > 1 else "one view per class leaves nothing to balance"

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return roots * NETWORKS[scale] * len(FACTORS) * sum(_COST[q] for q in POWERS[scale])

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        by_power = []
        for q in POWERS[scale]:
            by_factor = [_races(lab, _unequal(lab.settings, q, factor), NETWORKS[scale]) for factor in FACTORS]
            by_power.append(xr.concat(by_factor, dim="factor"))
        return xr.concat(by_power, dim="q").assign_coords(q=list(POWERS[scale]), factor=list(FACTORS))

    def judge(self, data: xr.Dataset) -> Verdict:
        generator = self._generator(data)
        powers = [int(q) for q in data["q"].values]
        found = {q: _fit(data.sel(q=q), generator) for q in powers}
        order = sorted(powers, key=lambda q: (q != 4, q))
        checks = [within(f"q = {q}: exponent", 1 / (q - 2), found[q], TOLERANCE / (q - 2)) for q in order]
        curves = {
            "q": list(map(float, powers)),
            "predicted": [1 / (q - 2) for q in powers],
            "estimate": [found[q].value for q in powers],
            "low": [found[q].low for q in powers],
            "high": [found[q].high for q in powers],
        }
        return self._verdict(data, checks, curves)


_COST = {3: 0.4, 4: 1.0, 5: 3.4}


def _unequal(base: Settings, q: int, factor: float) -> Settings:
    strengths = (factor ** (1 / q), *(1.0,) * (base.data.views - 1))
    return base.replace(**{"net.q": q, "data.strengths": strengths, "data.feature_noise": 0.0})


def _races(lab: Lab, settings: Settings, count: int) -> xr.Dataset:
    parts = []
    for root in lab.roots:
        bench = lab.bench(root, settings)
        networks = lab.members(bench, count, cost=_COST[settings.net.q])
        family = bench.family()
        params = family.init(bench.generators(Role.MEMBER, 0, count))
        start = start_of(family, params, bench.examples, bench.distribution.features)
        columns = {
            "winner": (("seed", "label"), winner(networks.views.probes)),
            "correlation": (("seed", "label", "view"), start.correlation.amax(dim=2).numpy()),
            "strength": (("label", "view"), start.strength.numpy()),
            "outcome": ("seed", networks.trained.outcome.numpy()),
        }
        parts.append(xr.Dataset(columns).expand_dims(root=[root]))
    return xr.concat(parts, dim="root")


def _features(data: xr.Dataset) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(network, class, view, 2): log of the largest correlation and of S; (network, class) winners."""
    dims = ("factor", "root", "seed", "label", "view")
    correlation = data["correlation"].transpose(*dims)
    strength = data["strength"].broadcast_like(correlation).transpose(*dims)
    both = np.log(np.maximum(np.stack([correlation.values, strength.values], axis=-1), TINY))
    won = data["winner"].transpose(*dims[:-1]).values
    return both.reshape(-1, *both.shape[3:]), won.reshape(-1, won.shape[-1])


def _fit(data: xr.Dataset, generator: np.random.Generator) -> Estimate:
    features, won = _features(data)

    def exponent(rows: NDArray[np.int64]) -> float:
        lead, strength = fit_weights(features[rows], won[rows])
        return float(strength / lead)

    picks = generator.integers(len(won), size=(RESAMPLES, len(won)))
    return percentiles(exponent(np.arange(len(won))), [exponent(rows) for rows in picks], len(won))
