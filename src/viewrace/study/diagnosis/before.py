"""Before training: what the data, the init and one gradient say."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from viewrace.claims.lab import Bench
from viewrace.config import Data, Settings
from viewrace.data import Examples
from viewrace.measure import Estimate, Views, coverage, in_context_accuracy, margin, views_of
from viewrace.nets import Family, Params
from viewrace.study.diagnosis.growth import measure_growth, neurons_of
from viewrace.study.diagnosis.lines import Line, estimate
from viewrace.train import Trained

__all__ = ["Before", "before_training", "same_inits"]

LINEAR = 0.25
"""A growth exponent within this of 1 counts as linear."""

EVEN = 0.9
"""Evenness of the pull above which a neuron is said to grow along the sum of the views."""


@dataclass(frozen=True)
class Before:
    """Lines for the reader, and what the search for causes needs: single (fraction of examples with one view), start (median
    z max_r <w, v> at init; NaN where it does not apply), twins (pairs of networks with the same init)."""

    lines: list[Line]
    single: float
    start: float
    twins: int


def before_training(settings: Settings, bench: Bench, family: Family, params: Params, generator: np.random.Generator) -> Before:
    """Everything that can be told without training a network."""
    lines, single = _single_views(settings, bench.examples)
    more, start = _start(settings, bench, family, params, generator)
    twins = same_inits(params)
    lines += more
    lines += _growth(settings, bench, family, params, generator)
    lines.append(_views_at_once(settings, bench.examples))
    lines.append(_seeds(params, twins))
    lines += _untrained(bench, family, params, generator)
    return Before(lines, single, start, twins)


def _single_views(settings: Settings, examples: Examples) -> tuple[list[Line], float]:
    data = settings.data
    strength = torch.tensor(data.view_strength)
    shown = examples.own_amplitude / strength > data.weak_amplitude * 1.0001
    single = float((shown.sum(dim=1) <= 1).double().mean())
    unseen = float((~shown).double().mean())
    left = unseen * math.log(data.classes)
    tolerance = settings.train.tolerance
    goal = f"training goes on to {tolerance:g}" if tolerance is not None else f"training goes on for {settings.train.steps} steps"
    forced = left > (tolerance or 0.0)
    says = f"expected {_expected_single(data):.3f} from the settings; counted in {len(examples)} examples"
    consequence = "the other views must be learned too" if forced else "one view a class is enough"
    return [
        Line("examples that show a single view", single, says),
        Line("loss left by a network with one view a class", left, f"{unseen:.2f} of the examples x ln K; {goal}: {consequence}"),
    ], single


def _expected_single(data: Data) -> float:
    chance = np.array(data.view_probability)
    none = np.prod(1 - chance)
    one = sum(p * np.prod(np.delete(1 - chance, index)) for index, p in enumerate(chance))
    return float(data.mu + (1 - data.mu) * one / (1 - none))


def _start(
    settings: Settings, bench: Bench, family: Family, params: Params, generator: np.random.Generator
) -> tuple[list[Line], float]:
    neurons = neurons_of(family, bench.distribution)
    if neurons is None:
        text = f"does not apply: the neurons of a {family.name} network do not see a view as one vector"
        return [Line("leading response at init, over rho", None, text)], math.nan
    amplitude = bench.examples.own_amplitude
    typical = float(amplitude[amplitude > 0].mean())
    response = typical * neurons.correlation(neurons.rows(params)).amax(dim=3).flatten(1)
    start = float(response.median())
    if settings.net.q == 1:
        return [Line("leading response at init", start, "plain ReLU has no polynomial part to hold it against")], start
    rho = settings.net.rho
    low, high = np.quantile(response.numpy() / rho, [0.05, 0.95])
    every = typical * neurons.correlation(neurons.rows(params))
    beyond = (every > rho)[neurons.own[None, :, None, :].expand_as(every)].double().mean()
    seeds = estimate((response / rho).median(dim=1).values.numpy(), generator)
    return [
        Line(
            "leading response at init, z max_r <w, v> / rho", seeds, f"from {low:.3f} to {high:.3f} (5 to 95%), median a network"
        ),
        Line(
            "responses beyond the polynomial part", float(beyond), "share of (neuron, view) pairs that start in the linear part"
        ),
    ], start


def _growth(settings: Settings, bench: Bench, family: Family, params: Params, generator: np.random.Generator) -> list[Line]:
    name, neurons = "growth exponent, measured", neurons_of(family, bench.distribution)
    if neurons is None:
        return [Line(name, None, f"does not apply: the neurons of a {family.name} network do not see a view as one vector")]
    found = measure_growth(settings, neurons, family, params, bench.examples)
    value = estimate(found.exponent, generator)
    even = estimate(found.evenness, generator)
    views = settings.data.views
    pairs = f"{found.pairs} of {found.asked} (class, view) grow at init; gradient of {found.examples} examples"
    says = "no view grows at init" if value is None else f"{_regime(value)}; q - 1 = {settings.net.q - 1}; {pairs}"
    scale = f"{1 / views:.2f}: to one view alone; 1: to all {views} alike"
    if even is not None and even.low > EVEN:
        scale += "; it pulls to the sum of the views, so they grow together"
    return [Line(name, value, says), Line("evenness of the gradient's pull on a neuron", even, scale)]


def _regime(value: Estimate) -> str:
    if value.low > 1 + LINEAR:
        return "super-linear: a lead grows, as a race needs"
    if value.high < 1 - LINEAR:
        return "sub-linear: no race, all views grow together"
    if value.low >= 1 - LINEAR and value.high <= 1 + LINEAR:
        return "linear: leads keep their ratio"
    return "between regimes"


def _views_at_once(settings: Settings, examples: Examples) -> Line:
    views = float((examples.own_amplitude > 0).sum(dim=1).double().mean())
    one_by_one = settings.data.layout == "patches" and settings.net.family == "patch"
    if one_by_one:
        return Line("views in one neuron's response", 1.0, "patches: each view is seen by itself")
    why = "flat input" if settings.data.layout == "flat" else "the network sees all patches at once"
    return Line("views in one neuron's response", views, f"{why}: a neuron meets the sum, and grows along the sum")


def same_inits(params: Params) -> int:
    """Pairs of networks whose initial weights are the same."""
    flat = torch.cat([tensor.flatten(1) for tensor in params.values()], dim=1)
    return sum(int((flat[index + 1 :] == flat[index]).all(dim=1).sum()) for index in range(len(flat)))


def _seeds(params: Params, twins: int) -> Line:
    count = len(next(iter(params.values())))
    if count < 2:
        return Line("networks with the same init", None, "one network alone: nothing to compare")
    pairs = count * (count - 1) // 2
    says = "the seeds differ" if not twins else "the seeds are one network: look for a generator that is seeded again"
    return Line("networks with the same init", f"{twins} of {pairs} pairs", says)


def _untrained(bench: Bench, family: Family, params: Params, generator: np.random.Generator) -> list[Line]:
    views = views_of(at_init(family, params), bench.distribution)
    chance = f"chance is 1/K = {1 / bench.settings.data.classes:.2f}"
    return [Line(f"untrained: {name}", estimate(values, generator), chance) for name, values in coverages(views).items()]


def coverages(views: Views) -> dict[str, np.ndarray]:
    """(seed,) coverage by each definition."""
    return {
        "coverage, isolated": coverage(views.probes),
        "coverage, margin 0.1": margin(views.probes),
        "coverage, margin 0.5": coverage(views.probes, 0.5),
        "single-view accuracy": in_context_accuracy(views.single, views.labels),
    }


def at_init(family: Family, params: Params) -> Trained:
    """Networks before their first step, in the form that the measures take."""
    blank: Tensor = torch.zeros(len(next(iter(params.values()))))
    return Trained(family, params, blank.long(), blank, blank, blank, blank.long(), blank.double())
