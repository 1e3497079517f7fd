"""What soft labels do for a view that has lost the race: does its growth still vanish with its strength?"""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from viewrace.claims.base import Claim, Scale
from viewrace.claims.lab import Bench, Lab, Networks, Role
from viewrace.claims.lost_views import TAKEN, drives, exponent, from_distractors, least_drive, strongest, taken
from viewrace.claims.verdict import Verdict, at_least, at_most, within
from viewrace.config import Settings
from viewrace.measure import MARGINS, Estimate, bootstrap, learned
from viewrace.measure.coverage import strength
from viewrace.nets import Family, Params, make_family
from viewrace.presets import DIGITS_RELU
from viewrace.race import Split, gradient_split
from viewrace.train import Film, Loss, SoftLoss, averaged, evaluate_logits

__all__ = ["ExternalSignal"]

STUDENTS = {Scale.SMOKE: 2, Scale.QUICK: 4, Scale.FULL: 12}
VARIANTS = {Scale.SMOKE: 2, Scale.QUICK: 2, Scale.FULL: 6}
FRAMES = {Scale.SMOKE: 30, Scale.QUICK: 40, Scale.FULL: 120}
OTHER_POWERS = (1, 2, 3)
FIRST, LAST, VARIANT_LAST = 0.02, 70.0, 10.0
"""When the film begins and ends, in units of the time that a view at its init needs to grow, rho sigma0^(2-q). Of the other
powers only the moment is asked for at which the classes are taken."""
LEAST_STRENGTH = 0.5
"""The exponent is fitted above this fraction of the init's standard deviation, where the view's own patches decide."""
SLOPE_ERROR = 0.3
VANISHED, ALIVE = 0.02, 0.03
LEARNED = 0.9
TAUGHT = ("hard", "soft")


class ExternalSignal(Claim):
    id = "external-signal"
    title = "What soft labels do for a view that has lost"
    statement = "Under soft labels the growth rate of the losing views does not vanish with their strength."
    source = (
        "The additive reading: competitive (Lotka-Volterra) pathway equations with a teacher's term. The multiplicative one: "
        "Allen-Zhu & Li, ICLR 2023, proof of Theorem 3, where the gradient keeps the factor act'(<w, v>)"
    )
    protocol = (
        "Students of the preset, and the same inits on hard labels for as long, are filmed; the growth of every view is split "
        "into the part that hard labels would give at the same logits and the rest, the teacher's. Looked at from the moment a "
        f"class is taken: the labels' own drive on it is down to {TAKEN} of its start. A view has lost that is not learned then "
        "(margin 0.1). Taken literally, the teacher's part does not depend on strength: its exponent in the strength, over the "
        f"neurons of all views but the strongest, is within {SLOPE_ERROR} of 0. By the gradient it is within {SLOPE_ERROR} of "
        "q - 1, at the preset's q and for students of q = 1, 2, 3. What may hold instead is in the drive, the growth rate over "
        "(a / rho)^(q-1): the least a lost view has, until it is learned or the film ends, over its start, is at most "
        f"{VANISHED} under hard labels and at least {ALIVE} under soft ones, and at least {LEARNED} of them are learned. "
        "Students per root seed: 2, 4, 12; per power 2, 2, 6."
    )
    by_default = False
    by_root = True

    def applies(self, settings: Settings) -> str | None:
        if settings.net.family != "patch" or settings.data.layout != "patches":
            return "the split needs a patch network and views in patches of their own"
        if settings.data.source != "features":
            return "the drive is defined for source = features, where a view is one vector"
        if settings.train.method != "flow":
            return "growth rates are those of the gradient flow (train.method = flow)"
        return "no view loses for q < 3" if settings.net.q < 3 else None

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        variants = len(_powers(settings)) - 1
        return roots * (settings.distill.members + 4.0 * STUDENTS[scale] + variants * VARIANTS[scale])

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        parts = [_one_root(lab, lab.bench(root), scale).expand_dims(root=[root]) for root in lab.roots]
        data = xr.concat(parts, dim="root")
        return data.assign_attrs(q=lab.settings.net.q, rho=lab.settings.net.rho, init=lab.settings.distill.init)

    def judge(self, data: xr.Dataset) -> Verdict:
        generator, own = self._generator(data), int(data.attrs["q"])
        powers = {int(q): _estimate(data["exponent"].sel(power=q), generator) for q in data["power"].values}
        name = f"exponent of the teacher's part in the strength, q = {own}"
        checks = [within(f"literal: {name}", 0.0, powers[own], SLOPE_ERROR)]
        checks += [
            within(f"by the gradient: {name.replace(f'q = {own}', f'q = {q}')}", q - 1.0, powers[q], SLOPE_ERROR)
            for q in sorted(powers, reverse=True)
        ]
        least = {taught: _estimate(least_drive(data.sel(taught=taught))["least"], generator) for taught in TAUGHT}
        end = {taught: _estimate(least_drive(data.sel(taught=taught))["learned"], generator) for taught in TAUGHT}
        checks.append(at_most("hard labels: least drive of a lost view, over its start", VANISHED, least["hard"]))
        checks.append(at_least("soft labels: least drive of a lost view, over its start", ALIVE, least["soft"]))
        checks.append(at_least("soft labels: lost views learned in the end", LEARNED, end["soft"], law=1.0))
        measures = {"lost views learned in the end, hard labels": end["hard"]} | _measures(data, generator)
        return self._verdict(data, checks, _curves(data, generator), measures)


def _powers(settings: Settings) -> list[int]:
    return sorted({*OTHER_POWERS, settings.net.q})


def _one_root(lab: Lab, bench: Bench, scale: Scale) -> xr.Dataset:
    distill, count = bench.settings.distill, STUDENTS[scale]
    teachers = lab.members(bench, distill.members)
    soft = averaged(teachers.trained.logits(bench.examples.inputs), distill.average)
    loss = SoftLoss.from_config(distill, bench.examples.labels, soft)
    own = bench.settings.net.q
    films = {
        "hard": _film(lab, bench, "filmed-hard", own, bench.hard_loss(), count, scale),
        "soft": _film(lab, bench, "filmed-soft", own, loss, count, scale),
    }
    data = xr.concat([films[taught][0] for taught in TAUGHT], dim="taught").assign_coords(taught=list(TAUGHT))
    data = data.merge(_at_taken(data.sel(taught="soft"), films["soft"][1]))
    found = {own: _exponents(bench, own, data)}
    for power in _powers(bench.settings):
        if power != own:
            variant, split = _film(lab, bench, f"filmed-q{power}", power, loss, VARIANTS[scale], scale)
            found[power] = _exponents(bench, power, _at_taken(variant, split))
    table = np.full((len(found), max(map(len, found.values()))), np.nan)
    for row, power in enumerate(sorted(found)):
        table[row, : len(found[power])] = found[power]
    return data.assign(exponent=(("power", "seed"), table)).assign_coords(power=sorted(found))


def _init(bench: Bench, power: int) -> float:
    """The student's init; plain ReLU takes the small one of the presets, else its units start learned."""
    return float(DIGITS_RELU["net.init"]) if power == 1 else bench.settings.distill.init


def _film(lab: Lab, bench: Bench, label: str, power: int, loss: Loss, count: int, scale: Scale) -> tuple[xr.Dataset, Split]:
    """Train from the students' inits, film them, and split the growth in every frame (frame and seed are one axis there)."""
    settings, init = bench.settings, _init(bench, power)
    net = settings.net.model_copy(update={"q": power})
    family = make_family(net, settings.data, settings.distill.width, init)
    unit = net.rho * max(1.0, init ** (2 - power))
    end = unit * (LAST if power == settings.net.q else VARIANT_LAST)
    film = Film(FIRST * unit, end, FRAMES[scale])
    to_the_end = settings.distill.model_copy(update={"time": end, "tolerance": 1e-9})
    generators = bench.generators(Role.STUDENT, 0, count)
    networks = lab.train(bench, f"{label}-{count}", family, generators, loss, student=to_the_end, cost=2.0, film=film)
    weights = {name: tensor.flatten(0, 1) for name, tensor in film.weights.items()}
    seeds = torch.arange(count).repeat(len(film.time))
    split = gradient_split(family, weights, bench.examples, bench.distribution.features, loss, seeds)
    return _table(bench, family, weights, film, split, networks), split


def _table(bench: Bench, family: Family, weights: Params, film: Film, split: Split, networks: Networks) -> xr.Dataset:
    shape = film.time.shape
    shown = bench.distribution.probes()
    probes = evaluate_logits(family, weights, shown.flatten(0, 2)).unflatten(1, shown.shape[:3])
    columns = {
        "drive_self": split.drive_self,
        "drive_external": split.drive_external,
        "drive_distractors": split.drive_distractors,
        "logit": strength(probes),
        "learned": learned(probes, MARGINS[0]) > 0.5,
    }
    dims = ("frame", "seed", "label", "view")
    table = xr.Dataset({name: (dims, value.unflatten(0, shape).numpy()) for name, value in columns.items()})
    return table.assign(time=(("frame", "seed"), film.time.numpy()), outcome=("seed", networks.trained.outcome.numpy()))


def _at_taken(data: xr.Dataset, split: Split) -> xr.Dataset:
    """Strength and the teacher's part of the growth of every (label, neuron, view) when its class is taken.

    Nothing (NaN) for the class's strongest view, and for a class that is never taken.
    """
    frames = taken(data)
    keep = (frames >= 0) & ~strongest(data)
    dims = ("frame", "seed", "label", "neuron", "view")
    shape = (data.sizes["frame"], data.sizes["seed"])
    columns = {"strength": split.strength, "growth": split.external}
    table = xr.Dataset({name: (dims, value.unflatten(0, shape).numpy()) for name, value in columns.items()})
    return table.isel(frame=frames.clip(min=0)).where(keep)


def _exponents(bench: Bench, power: int, data: xr.Dataset) -> NDArray[np.float64]:
    rho = bench.settings.net.rho
    low = LEAST_STRENGTH * _init(bench, power) * rho
    high = rho / bench.settings.data.amplitude[1]
    a, growth = (data[name].transpose("seed", ...).values for name in ("strength", "growth"))
    return np.array([exponent(a[seed], growth[seed], low, high) for seed in range(len(a))])


def _estimate(values: xr.DataArray, generator: np.random.Generator) -> Estimate:
    """Over networks, those without a value left out."""
    values = values.transpose("root", "seed")
    roots = np.broadcast_to(values["root"].values[:, None], values.shape)
    known = np.isfinite(values.values)
    return bootstrap(values.values[known], generator, roots[known])


def _measures(data: xr.Dataset, generator: np.random.Generator) -> dict[str, Estimate]:
    soft = data.sel(taught="soft")
    a, growth = data["strength"], data["growth"]
    inner = ("label", "neuron", "view")
    above = growth.where(a > LEAST_STRENGTH * data.attrs["init"] * data.attrs["rho"])
    found = {
        f"drive of a lost view when its class is taken, {taught} labels": least_drive(data.sel(taught=taught))["at_taken"]
        for taught in TAUGHT
    }
    found["teacher's part in neurons without the view, over those with it"] = growth.where(a <= 0).mean(inner) / above.mean(inner)
    found["share of the fitted points left out, growth not positive"] = (above <= 0).sum(inner) / above.notnull().sum(inner)
    found["share of the lost views' drive that is from distractors"] = from_distractors(soft)
    return {name: _estimate(values, generator) for name, values in found.items()}


def _curves(data: xr.Dataset, generator: np.random.Generator) -> dict[str, list[float]]:
    curves: dict[str, list[float]] = {"power": data["power"].values.tolist()}
    curves |= _line("exponent", [_estimate(data["exponent"].sel(power=q), generator) for q in data["power"].values])
    for taught in TAUGHT:
        film = data.sel(taught=taught)
        parts = drives(film)
        curves[f"{taught}_time"] = film["time"].mean(("root", "seed")).values.tolist()
        when = film["time"].isel(frame=taken(film).clip(min=0)).where(taken(film) >= 0)
        curves[f"{taught}_taken"] = [float(when.median())]
        for group in parts["group"].values:
            for part in parts.data_vars:
                table = parts[part].sel(group=group)
                points = [_estimate(table.isel(frame=frame), generator) for frame in range(table.sizes["frame"])]
                curves |= _line(f"{taught}_{group}_{part}", points)
    return curves


def _line(name: str, points: list[Estimate]) -> dict[str, list[float]]:
    return {
        f"{name}_estimate": [point.value for point in points],
        f"{name}_low": [point.low for point in points],
        f"{name}_high": [point.high for point in points],
    }
