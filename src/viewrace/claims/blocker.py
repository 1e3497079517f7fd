"""Why an experiment showed no race: from coverage 1.0 to 1/M and back, one switch at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from viewrace import theory
from viewrace.claims.base import Claim, Scale
from viewrace.claims.blocker_rungs import Rung, rungs
from viewrace.claims.lab import Bench, Lab, Networks, Role
from viewrace.claims.single_view import measures
from viewrace.claims.verdict import Check, Verdict, at_least, within
from viewrace.config import Settings
from viewrace.measure import (
    Estimate,
    Views,
    bootstrap,
    coverage,
    in_context_accuracy,
    margin,
    seed_diversity,
    views_of,
)
from viewrace.train import Trained

__all__ = ["NECESSARY", "Blocker"]

NETWORKS = {Scale.SMOKE: 2, Scale.QUICK: 4, Scale.FULL: 20}
FIRST = {Scale.SMOKE: 2, Scale.QUICK: 2, Scale.FULL: 20}
HEAVY = {Scale.SMOKE: 0, Scale.QUICK: 1, Scale.FULL: 5}
HEAVY_COST = 8.0
TOLERANCE = 0.05
ALL_VIEWS = 0.99
DIFFERENT = 0.01

NECESSARY = {
    "mostly multi-view examples": ("43% single-view (p = 0.5)", "43% single-view (mu)"),
    "views in separate patches": ("flat, patch network",),
    "q of 3 or more": ("q = 2", "q = 1"),
    "init small against rho": ("init = rho",),
    "wide polynomial part": ("rho = 1",),
}
"""What should be necessary, and the settings of the reverse series that take it back."""
NOT_NECESSARY = "SGD, rate 1"
MEASURES = ("isolated", "margin", "in_context", "dominance", "effective_rank")
UNTRAINED = ("untrained_isolated", "untrained_margin", "untrained_in_context")


class Blocker(Claim):
    id = "blocker-001"
    title = "Why an experiment shows no race"
    statement = (
        "Independent views on flat data, an MLP with plain ReLU and SGD learn every view: coverage 1.0, dominance 1/3. No one "
        "switch changes that; several together give 1/M, and each of them taken back alone loses it."
    )
    source = "Allen-Zhu & Li, ICLR 2023, section 2 (what Theorem 1 assumes) and appendix (why one view wins); docs/blocker-001.md"
    protocol = (
        "Three series. Ladder: from blocker-001, each switch with those before it. Alone: each switch by itself on blocker-001. "
        "Reverse: each taken back alone from the working preset. Coverage by margin 0.1 is judged; isolated, in-context, "
        "dominance, effective rank, seed diversity and the same networks before training are shown beside it. Necessary: the "
        f"interval of coverage lies above 1/M + {TOLERANCE} where the switch is taken back. Alone: it stays above that too. "
        "Networks per setting and root seed: 2, 4, 20; on the ladder with 10,000 examples 2, 2, 20; with one switch alone, or "
        "with SGD at rate 0.01, none, 1, 5."
    )
    by_default = False

    def applies(self, settings: Settings) -> str | None:
        data = settings.data
        if data.source != "features" or (data.views, data.classes) != (3, 10):
            return "the experiment has 10 classes of 3 views, as features"
        return None

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return roots * sum(_networks(rung, scale) * _cost(rung) for rung in rungs(settings))

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        chosen = [rung for rung in rungs(lab.settings) if _networks(rung, scale)]
        rows = [_row(lab, rung, index, root, _networks(rung, scale)) for index, rung in enumerate(chosen) for root in lab.roots]
        points = {
            "series": ("point", [rung.series for rung in chosen]),
            "name": ("point", [rung.name for rung in chosen]),
            "point_settings": ("point", [rung.settings.to_yaml() for rung in chosen]),
        }
        data = xr.concat(rows, dim="seed").assign(points)
        return data.assign_attrs(views=lab.settings.data.views)

    def judge(self, data: xr.Dataset) -> Verdict:
        generator, law = self._generator(data), theory.single_coverage(int(data.attrs["views"]))
        above = round(law + TOLERANCE, 3)
        found = {index: _estimates(data, index, generator) for index in range(data.sizes["point"])}
        at = {(str(s), str(n)): i for i, (s, n) in enumerate(zip(data["series"].values, data["name"].values, strict=True))}
        first, last = found[0], found[max(i for (series, _), i in at.items() if series == "ladder")]
        checks = [
            at_least("blocker-001: coverage, margin 0.1", ALL_VIEWS, first["margin"]),
            at_least("blocker-001: coverage, isolated", ALL_VIEWS, first["isolated"]),
            within("blocker-001: dominance", law, first["dominance"], TOLERANCE),
            at_least("blocker-001: logits differ between seeds, relative distance", DIFFERENT, first["distance"]),
            within("end of the ladder: coverage, margin 0.1", law, last["margin"], TOLERANCE),
        ]
        checks += [
            at_least(f"alone on blocker-001: {name}", above, found[i]["margin"])
            for (series, name), i in at.items()
            if series == "alone"
        ]
        checks += _necessity(found, at, law, above)
        return self._verdict(data, checks, _curves(data, found), _beside(data, found))


def _networks(rung: Rung, scale: Scale) -> int:
    if rung.series == "alone" or (rung.series == "reverse" and rung.heavy):
        return HEAVY[scale]
    return FIRST[scale] if rung.heavy else NETWORKS[scale]


def _cost(rung: Rung) -> float:
    return HEAVY_COST if rung.heavy else 1.0


def _row(lab: Lab, rung: Rung, point: int, root: int, count: int) -> xr.Dataset:
    """Every network of one setting under one root seed, before and after training."""
    bench = lab.bench(root, rung.settings)
    networks = lab.members(bench, count)
    kept = {name: value for name, value in measures(networks).items() if name in (*MEASURES, "outcome", "loss", "train_accuracy")}
    kept["margin"] = ("seed", margin(networks.views.probes))
    kept["winners"] = measures(networks)["winner"]
    kept["distance"] = ("seed", _distance(networks))
    before = _untrained(networks.trained, bench)
    kept |= {
        "untrained_isolated": ("seed", coverage(before.probes)),
        "untrained_margin": ("seed", margin(before.probes)),
        "untrained_in_context": ("seed", in_context_accuracy(before.single, before.labels)),
    }
    return xr.Dataset(kept).assign({"point_index": ("seed", [point] * count), "root": ("seed", [root] * count)})


def _untrained(trained: Trained, bench: Bench) -> Views:
    """What the same networks say before they learn: no measure of coverage may be fooled by them."""
    params = trained.family.init(bench.generators(Role.MEMBER, 0, len(trained)))
    return views_of(Trained(trained.family, params, *([trained.loss] * 6)), bench.distribution)


def _distance(networks: Networks) -> NDArray[np.float64]:
    """(seed,) distance of a network's logits on the lone views to the next network's, over their size; 0 for a single one."""
    logits = networks.views.probes.flatten(1).double()
    gap = (logits - logits.roll(1, dims=0)).norm(dim=1)
    return (gap / logits.norm(dim=1).clamp(min=1e-30)).numpy()


def _estimates(data: xr.Dataset, index: int, generator: np.random.Generator) -> dict[str, Estimate]:
    mine = data.isel(seed=np.flatnonzero(data["point_index"].values == index))
    roots = mine["root"].values
    found = {name: bootstrap(mine[name].values, generator, roots) for name in (*MEASURES, *UNTRAINED, "distance")}
    diversity = seed_diversity(mine["winners"].values, int(data.attrs["views"]))
    return found | {"seed_diversity": bootstrap(diversity, generator, unit="classes")}


def _necessity(found: dict[int, dict[str, Estimate]], at: dict[tuple[str, str], int], law: float, above: float) -> list[Check]:
    checks = []
    for what, names in NECESSARY.items():
        for name in names:
            checks.append(at_least(f"necessary: {what}; without, {name}", above, found[at["reverse", name]]["margin"]))
    loose = found[at["reverse", "working preset"]]["isolated"]
    checks.append(at_least("necessary: a margin in the measure; without, isolated at the working preset", above, loose))
    without = found[at["reverse", NOT_NECESSARY]]["margin"]
    return [*checks, within(f"not necessary: gradient flow; {NOT_NECESSARY}", law, without, TOLERANCE)]


def _curves(data: xr.Dataset, found: dict[int, dict[str, Estimate]]) -> dict[str, list[float]]:
    """For every series and measure the estimates with their intervals, in the order of `name`."""
    curves: dict[str, list[float]] = {}
    for series in dict.fromkeys(data["series"].values.tolist()):
        points = [i for i, at in enumerate(data["series"].values) if at == series]
        curves[f"{series}_n"] = [float(found[i]["margin"].n) for i in points]
        for name in found[0]:
            line = [found[i][name] for i in points]
            curves |= {f"{series}_{name}_{part}": [_part(e, part) for e in line] for part in ("estimate", "low", "high")}
    return curves


def _part(estimate: Estimate, part: str) -> float:
    return float({"estimate": estimate.value, "low": estimate.low, "high": estimate.high}[part])


def _beside(data: xr.Dataset, found: dict[int, dict[str, Estimate]]) -> dict[str, Estimate]:
    """What is measured beside the checks: the isolated and in-context coverage at both ends of the ladder."""
    last = int(np.flatnonzero(data["series"].values == "ladder")[-1])
    ends: dict[str, Any] = {"blocker-001": 0, "end of the ladder": last}
    names = ("isolated", "in_context", "dominance", "effective_rank", "seed_diversity", "untrained_isolated")
    return {f"{end}: {name.replace('_', ' ')}": found[index][name] for end, index in ends.items() for name in names}
