"""Claim 2: an average of N networks knows 1 - (1 - 1/M)^N of the views."""

from __future__ import annotations

import numpy as np
import xarray as xr

from viewrace import theory
from viewrace.claims.base import Claim, Scale
from viewrace.claims.lab import Lab, Networks
from viewrace.claims.single_view import NETWORKS, TOLERANCE
from viewrace.claims.verdict import Check, Verdict, within
from viewrace.config import Settings
from viewrace.measure import Estimate, bootstrap, coverage, in_context_accuracy, margin, union, winner

__all__ = ["SIZES", "Ensemble", "ensembles"]

SIZES = tuple(range(1, 11))


class Ensemble(Claim):
    id = "ensemble"
    title = "An ensemble collects the views"
    statement = "The average of N networks covers 1 - (1 - 1/M)^N of the views, for N = 1..10."
    source = "Allen-Zhu & Li, ICLR 2023, Theorem 2; finite N by independence of the members"
    protocol = (
        "The networks of the single-view claim, cut into groups of N that share no member, as many as there are: fresh "
        "members in every repeat. Coverage is measured on the averaged logits, never computed from the members' sets (that "
        f"is `union`, beside it). Supported where at every N the whole 95% interval lies within {TOLERANCE} of the law, by "
        "margin at 0.1 and by accuracy on fresh single-view examples; the headline is the N that is furthest off."
    )
    by_root = True

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return roots * NETWORKS[scale]

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        parts = []
        for root in lab.roots:
            networks = lab.members(lab.bench(root), NETWORKS[scale])
            parts.append(ensembles(networks, SIZES).expand_dims(root=[root]))
        return xr.concat(parts, dim="root")

    def judge(self, data: xr.Dataset) -> Verdict:
        sizes, generator = data["members"].values, self._generator(data)
        law = theory.ensemble_coverage(int(data.attrs["views"]), sizes)
        checks, curves = [], {"members": sizes.tolist(), "predicted": law.tolist()}
        for name, label in (("margin", "coverage by margin 0.1"), ("in_context", "accuracy on single-view examples")):
            points = [_estimate(data, name, int(size), generator) for size in sizes]
            checks.append(_furthest(label, law, points, sizes))
            curves |= {
                f"{name}_estimate": [point.value for point in points],
                f"{name}_low": [point.low for point in points],
                f"{name}_high": [point.high for point in points],
                f"{name}_n": [point.n for point in points],
            }
        lopsided = theory.expected_union(_win_probability(data), sizes)
        return self._verdict(data, checks, curves | {"predicted_from_winner_frequencies": lopsided.tolist()})


def ensembles(networks: Networks, sizes: tuple[int, ...]) -> xr.Dataset:
    """Measures of disjoint ensembles: (members, repeat), NaN where there are fewer repeats."""
    count = len(networks)
    shape = (len(sizes), count // min(sizes))
    columns = {name: np.full(shape, np.nan) for name in ("margin", "in_context", "isolated", "union")}
    for row, size in enumerate(sizes):
        for repeat in range(count // size):
            members = slice(repeat * size, (repeat + 1) * size)
            average = networks.views.average(members)
            columns["margin"][row, repeat] = margin(average.probes)[0]
            columns["isolated"][row, repeat] = coverage(average.probes)[0]
            columns["in_context"][row, repeat] = in_context_accuracy(average.single, average.labels)[0]
            columns["union"][row, repeat] = union(networks.views.probes[members])
    data = xr.Dataset({name: (("members", "repeat"), values) for name, values in columns.items()})
    data["winner"] = (("seed", "label"), winner(networks.views.probes))
    data["outcome"] = ("seed", networks.trained.outcome.numpy())
    return data.assign_coords(members=list(sizes)).assign_attrs(views=networks.views.probes.shape[2])


def _estimate(data: xr.Dataset, name: str, size: int, generator: np.random.Generator) -> Estimate:
    values = data[name].sel(members=size)
    roots = np.broadcast_to(data["root"].values[:, None], values.shape)
    there = ~np.isnan(values.values)
    return bootstrap(values.values[there], generator, roots[there], unit="ensembles")


def _furthest(label: str, law: np.ndarray, points: list[Estimate], sizes: np.ndarray) -> Check:
    """All sizes are judged; the one shown is the worst judged and then the furthest from the law."""
    checks = [
        within(f"{label}, N = {size} (the furthest of {len(sizes)})", float(at), point, TOLERANCE)
        for size, at, point in zip(sizes, law, points, strict=True)
    ]
    order = {"refuted": 2, "inconclusive": 1, "supported": 0}
    return max(checks, key=lambda check: (order[check.verdict], abs(check.estimate - check.predicted)))


def _win_probability(data: xr.Dataset) -> np.ndarray:
    """(root, label, view) how often each view won."""
    views = int(data.attrs["views"])
    return np.stack([(data["winner"].values == view).mean(axis=1) for view in range(views)], axis=-1)
