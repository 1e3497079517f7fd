"""Gated deep linear networks: the reduction to scalar equations, and the race between shared and private pathways."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from viewrace.claims.base import Claim, Scale
from viewrace.claims.gated_networks import (
    DOMAINS,
    INIT,
    MODES,
    RACE_CHANGE,
    SPREAD,
    STEP_CHANGE,
    UNITS,
    aligned_share,
    beside_reduction,
    films,
    race,
)
from viewrace.claims.lab import Lab
from viewrace.claims.verdict import Check, Verdict, at_least, at_most, within
from viewrace.config import Settings
from viewrace.measure import Estimate, bootstrap

__all__ = ["GatedRace"]

NETWORKS = {Scale.SMOKE: 4, Scale.QUICK: 12, Scale.FULL: 60}
TOLERANCE = 0.02
WON, LEARNED = 0.9, 0.1
IGNORANT, DRAW, LOST = 0.9, 0.15, 0.15
START, OUTPUTS = 0.2, (1, 2, 3)
ALONE, FILMED = 4, (2, 1)
LED, LEADS = 2, (1.0, 2.0, 4.0)
NOISY, NOISES, STARTS = (2, 2), (0.01, 0.1, 1.0), (0.1, 0.2)


class GatedRace(Claim):
    id = "gated"
    title = "Gated linear networks: the pathway race"
    statement = (
        "A gated deep linear network that starts aligned follows scalar equations in the strengths of its edges; from small "
        "random weights a pathway that many pairs of domains share outruns private ones, and serves pairs never trained."
    )
    source = "Saxe, Sodhani & Lewallen 2022, arXiv 2207.10430; derived in docs/linear.md"
    by_default = False
    by_root = True
    protocol = (
        f"Its own task, whatever the settings: {DOMAINS} input and {DOMAINS} output domains of {UNITS} units, each input trained "
        f"with 1, 2 or 3 outputs, targets of modes s = {MODES[0]:g} and {MODES[1]:g}, three edges on the shared pathway and on "
        "each pair's private one. All weights are trained by the gradient flow in float64, the step halved until nothing changes "
        f"by more than {STEP_CHANGE:g} (races: {RACE_CHANGE:g}). Reduction: all strengths start at {START:g} times a number "
        f"uniform in {SPREAD}; a network's deviation is the largest over pathways, modes and times, relative to s; supported "
        f"where its mean is at most {TOLERANCE:g} with its whole interval. Race: weights N(0, {INIT:g}^2 / in); at 3 outputs the "
        f"shared pathway carries a share of at least {WON:g} of the map, and leaves pairs never trained an error of at most "
        f"{LEARNED:g}. Where theory says no: with 1 output an input nothing fixes the other pairs, error at least {IGNORANT:g}; "
        f"where one pair is all there is, both ways are alike, share within {DRAW:g} of 1/2; private weights {LEADS[-1]:g} times "
        f"larger win at {LED} outputs, share at most {LOST:g}. Networks per root seed and condition: 4, "
        f"12, 60; of a pair alone {ALONE} times as many."
    )

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return float(roots * (2 * len(OUTPUTS) + len(LEADS) + len(STARTS)))

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        parts = [_one_root(lab, root, NETWORKS[scale]).expand_dims(root=[root]) for root in lab.roots]
        drawn = films(lab.roots[0], *FILMED, START)
        drawn["share_aligned"] = "outputs", [aligned_share(lab.roots[0], outputs) for outputs in OUTPUTS]
        return xr.concat(parts, dim="root").merge(drawn)

    def judge(self, data: xr.Dataset) -> Verdict:
        generator = self._generator(data)

        def along(values: xr.DataArray, dim: str) -> list[Estimate]:
            return [_estimate(values.sel({dim: at}), generator) for at in values[dim].values]

        deviation, share, untrained = (along(data[name], "outputs") for name in ("deviation", "share", "untrained"))
        led, alone = along(data["share_led"], "lead"), _estimate(data["share_alone"], generator)
        noisy = {start: along(data["deviation_noise"].sel(start=start), "noise") for start in STARTS}
        curves = {"outputs": list(map(float, OUTPUTS)), "lead": list(LEADS), "noise": list(NOISES)}
        curves |= _line("share", share) | _line("untrained", untrained) | _line("led", led) | _line("alone", [alone])
        measures = {f"share, 1 of {DOMAINS} outputs": share[0], f"share, 2 of {DOMAINS} outputs": share[1]}
        measures[f"error on pairs never trained, 2 of {DOMAINS} outputs"] = untrained[1]
        measures |= {f"share, private weights {lead:g} times larger": point for lead, point in zip(LEADS, led, strict=True)}
        for start, points in noisy.items():
            curves |= _line(f"noise_{start:g}", points)
            measures |= {f"deviation, start {start:g}, off by {noise:g}": p for noise, p in zip(NOISES, points, strict=True)}
        measures["error left on trained pairs"] = _estimate(data["left"], generator)
        return self._verdict(data, _checks(deviation, share, untrained, alone, led[-1]), curves, measures)


def _checks(
    deviation: list[Estimate], share: list[Estimate], untrained: list[Estimate], alone: Estimate, led: Estimate
) -> list[Check]:
    most = f"{OUTPUTS[-1]} of {DOMAINS} outputs"
    return [
        *(
            at_most(f"deviation from the reduced equations, {outputs} of {DOMAINS} outputs", TOLERANCE, point)
            for outputs, point in zip(OUTPUTS, deviation, strict=True)
        ),
        at_least(f"share of the shared pathway, {most}", WON, share[-1]),
        at_most(f"error on pairs never trained, {most}", LEARNED, untrained[-1]),
        at_least(f"error on pairs never trained, 1 of {DOMAINS} outputs", IGNORANT, untrained[0]),
        within("share where one pair is all there is", 0.5, alone, DRAW),
        at_most(f"share at {LED} of {DOMAINS} outputs, private weights {LEADS[-1]:g} times larger", LOST, led),
    ]


def _one_root(lab: Lab, root: int, count: int) -> xr.Dataset:
    def done(found: dict[str, Any]) -> dict[str, Any]:
        lab.progress(1.0)
        return found

    aligned = [done(beside_reduction(root, DOMAINS, outputs, START, (0.0,), count)) for outputs in OUTPUTS]
    races = [done(race(root, DOMAINS, outputs, 1.0, count)) for outputs in OUTPUTS]
    alone = done(race(root, 1, 1, 1.0, ALONE * count))
    even = races[OUTPUTS.index(LED)]
    led = [even, *(done(race(root, DOMAINS, LED, lead, count)) for lead in LEADS[1:])]
    noisy = [done(beside_reduction(root, *NOISY, start, NOISES, count)) for start in STARTS]
    return xr.Dataset(
        {
            "deviation": (("outputs", "seed"), np.concatenate([one["deviation"] for one in aligned])),
            "share": (("outputs", "seed"), np.stack([one["share"] for one in races])),
            "untrained": (("outputs", "seed"), np.stack([one["untrained"] for one in races])),
            "left": (("outputs", "seed"), np.stack([one["left"] for one in races])),
            "share_alone": ("draw", alone["share"]),
            "share_led": (("lead", "seed"), np.stack([one["share"] for one in led])),
            "deviation_noise": (("start", "noise", "seed"), np.stack([one["deviation"] for one in noisy])),
            "change": ((), max(one["change"] for one in [*races, alone, *led])),
        },
        coords={"outputs": list(OUTPUTS), "lead": list(LEADS), "start": list(STARTS), "noise": list(NOISES)},
    )


def _line(name: str, points: list[Estimate]) -> dict[str, list[float]]:
    return {
        f"{name}_estimate": [point.value for point in points],
        f"{name}_low": [point.low for point in points],
        f"{name}_high": [point.high for point in points],
    }


def _estimate(values: xr.DataArray, generator: np.random.Generator) -> Estimate:
    values = values.transpose("root", ...)
    roots = np.broadcast_to(values["root"].values.reshape(-1, *(1,) * (values.ndim - 1)), values.shape)
    return bootstrap(values.values, generator, roots)
