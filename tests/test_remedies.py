"""Penalties and presets of what else was tried, and how their claim is judged."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import viewrace
from viewrace.claims.lab import Bench
from viewrace.claims.remedies import FACTORS, HELD, SIGHTS, Remedies
from viewrace.config import settings
from viewrace.data import Distribution
from viewrace.nets import make_family
from viewrace.presets import REMEDIES, UNEQUAL, blocker_001, named, remedy
from viewrace.report.figures import figures_of
from viewrace.report.remedies import NAMES, table_rows
from viewrace.report.style import svg
from viewrace.train import HardLoss, ProbePenalty
from viewrace.train.objective import Objective
from viewrace.train.penalties import shared_strength, view_entropy

CLASSES, VIEWS, PROBES, SEEDS = 3, 4, 2, 2


def answers(number: int = 0) -> Tensor:
    """Logits on probes, (seed, class x view x probe, class), some views of some classes answered below 0."""
    generator = torch.Generator().manual_seed(number)
    return torch.randn(SEEDS, CLASSES * VIEWS * PROBES, CLASSES, generator=generator, dtype=torch.float64) + 0.4


def plain_penalty(logits: Tensor, competition: float, entropy: float) -> Tensor:
    """The definition, one class after another."""
    table = logits.view(SEEDS, CLASSES, VIEWS, PROBES, CLASSES)
    total = torch.zeros(SEEDS, dtype=logits.dtype)
    for label in range(CLASSES):
        strength = table[:, label, :, :, label].mean(dim=2).clamp(min=0)
        for first in range(VIEWS):
            for second in range(first):
                total = total + competition * strength[:, first] * strength[:, second] / CLASSES
        for seed in range(SEEDS):
            shares = strength[seed][strength[seed] > 0] / strength[seed].sum()
            total = total + torch.eye(SEEDS, dtype=logits.dtype)[seed] * entropy * -(shares * shares.log()).sum() / CLASSES
    return total


@given(number=st.integers(0, 10_000), competition=st.floats(0, 3), entropy=st.floats(0, 3))
def test_the_penalty_is_its_definition_and_its_residual_the_derivative(number, competition, entropy):
    logits = answers(number).requires_grad_()
    penalty = ProbePenalty(torch.zeros(CLASSES, VIEWS, PROBES, 1, 5), competition, entropy)
    expected = plain_penalty(logits, competition, entropy)
    (slope,) = torch.autograd.grad(expected.sum(), logits)
    value, residual = penalty.evaluate(logits.detach())
    torch.testing.assert_close(value, expected.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(residual, slope, rtol=1e-8, atol=1e-12)


def test_a_class_that_answers_one_view_alone_pays_nothing_and_equal_views_pay_most():
    one, equal = torch.tensor([[[0.0, 2.0, 0.0]]]).double(), torch.tensor([[[2.0, 2.0, 2.0]]]).double()
    for price in (shared_strength, view_entropy):
        assert price(one)[0].item() == pytest.approx(0, abs=1e-12)
    assert shared_strength(equal)[0].item() == pytest.approx(12.0)
    value, slope = view_entropy(equal)
    assert value.item() == pytest.approx(math.log(3))
    assert slope.abs().max() < 1e-12


def test_a_penalised_objective_has_the_gradient_of_the_sum(seeds):
    chosen = settings(SMALL | {"net.family": "mlp", "net.hidden": (6,), "net.q": 1, "net.init": 1.0, "net.rho": 1.0})
    distribution = Distribution(chosen.data, root=0)
    family, examples = make_family(chosen.net, chosen.data), distribution.train()
    params = {name: tensor.double() for name, tensor in family.init(seeds(2)).items()}
    loss = HardLoss(examples.labels)
    plain = Objective(family, examples.inputs.double(), loss)
    penalised = Objective(family, examples.inputs.double(), loss, ProbePenalty(distribution.probes(), 0.7, 0.3))
    free = {name: tensor.clone().requires_grad_() for name, tensor in params.items()}
    shown = torch.func.vmap(family.apply, in_dims=(0, None))(free, distribution.probes().flatten(0, 2).double())
    extra = plain_on(shown, distribution.probes().shape[:3], 0.7, 0.3)
    gradient = dict(zip(free, torch.autograd.grad(extra.sum(), list(free.values()), allow_unused=True), strict=True))
    before, after = (objective.at(params, torch.arange(2)) for objective in (plain, penalised))
    torch.testing.assert_close(after.value, before.value + extra.detach())
    torch.testing.assert_close(after.gap, before.gap)
    for name in params:
        torch.testing.assert_close(after.gradient[name], before.gradient[name] + gradient[name], rtol=1e-8, atol=1e-12)


def plain_on(shown: Tensor, shape: torch.Size, competition: float, entropy: float) -> Tensor:
    index = torch.arange(shape[0])
    strength = shown.unflatten(1, shape)[:, index, :, :, index].mean(dim=3).transpose(0, 1).clamp(min=0)
    share = strength / strength.sum(dim=2, keepdim=True).clamp(min=1e-300)
    pairs = (strength.sum(dim=2) ** 2 - strength.square().sum(dim=2)) / 2
    unsure = torch.where(share > 0, -share * share.clamp(min=1e-300).log(), 0.0).sum(dim=2)
    return (competition * pairs + entropy * unsure).mean(dim=1)


SMALL = {
    "data.classes": 3,
    "data.views": 2,
    "data.dim": 8,
    "data.slots": True,
    "data.layout": "flat",
    "data.examples": 30,
    "data.test_examples": 30,
    "data.distractors": 0.0,
}


@pytest.mark.parametrize("kind", ["ce", "mse"])
@pytest.mark.parametrize("weight", [0.5, -0.3])
def test_the_entropy_term_is_its_definition_and_leaves_the_gap_alone(kind, weight):
    logits = 2 * torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels, free = torch.tensor([0, 1, 2, 0, 1, 2, 0]), logits.clone().requires_grad_()
    probability = free.softmax(-1)
    entropy = -(probability * probability.log()).sum(-1).mean(1)
    plain, found = (HardLoss(labels, kind, weight).evaluate(logits, torch.arange(2)) for weight in (0.0, weight))
    (slope,) = torch.autograd.grad(entropy.sum(), free)
    torch.testing.assert_close(found.value, plain.value + weight * entropy.detach())
    torch.testing.assert_close(found.residual, plain.residual + weight * slope)
    torch.testing.assert_close(found.gap, plain.gap)


def test_a_bench_has_the_penalty_that_its_settings_ask_for():
    assert Bench(settings(SMALL), 0).penalty() is None
    held = Bench(settings(SMALL | {"train.competition": 0.2, "train.view_entropy": 0.1}), 0).penalty()
    assert (held.competition, held.entropy) == (0.2, 0.1)
    assert Bench(settings(SMALL | {"train.entropy": 0.5}), 0).hard_loss().entropy == 0.5


@pytest.mark.parametrize("name", REMEDIES)
def test_a_remedy_is_blocker_001_with_its_own_changes_alone(name):
    trees = [one.model_dump() for one in (blocker_001(), remedy(name))]
    moved = {f"{group}.{key}" for group in trees[0] for key in trees[0][group] if trees[0][group][key] != trees[1][group][key]}
    assert moved == set(REMEDIES[name])
    assert named(f"remedy-{name}") == remedy(name)
    assert name in NAMES


def made(margin=1.0, released=1.0, eroded=0.4, won=1.0, kd=0.25) -> xr.Dataset:
    """What the claim measures, made up: two root seeds of two networks."""
    names = ["none", *REMEDIES]
    jitter = np.array([-1e-3, 1e-3])
    each = np.broadcast_to(jitter, (2, len(names), 2))
    held = np.broadcast_to(jitter, (2, len(HELD), 2))
    factors = np.broadcast_to(np.array([[-1e-3], [1e-3]]), (2, len(FACTORS)))
    strongest = {"untrained": 0.2, "hard": 0.4, "kd": kd}
    shares = np.stack([np.full((2, len(SIGHTS), 2, 5), 0.15) for _ in strongest], axis=1)
    shares[..., 0] = np.array(list(strongest.values()))[None, :, None, None] + jitter
    data = xr.Dataset(coords={"root": [0, 1], "remedy": names, "held": list(HELD), "factor": list(FACTORS)})
    data = data.assign_coords(taught=list(strongest), sight=list(SIGHTS))
    levels = {"margin": margin, "margin_centred": 1.0, "in_context": 1.0, "dominance": 0.345, "dominance_centred": 0.345}
    for name, level in (levels | {"effective_rank": 2.9, "train_accuracy": 1.0}).items():
        data[name] = (("root", "remedy", "seed"), level + each)
    for name, level in (("margin", released), ("dominance", 0.4)):
        data[f"{name}_released"] = (("root", "held", "seed"), level + held)
    data["dominance_whole"] = (("root", "whole"), 0.345 + np.broadcast_to(jitter, (2, 2)))
    for name, level in (("before", 0.8), ("after", eroded), ("margin", 1.0), ("won", won), ("weight_after", 0.8)):
        data[f"boost_{name}"] = (("root", "factor"), level + factors)
    data["shares"] = (("root", "taught", "sight", "seed", "view5"), shares)
    data["gap_kd"] = (("root", "seed"), 0.01 + np.broadcast_to(jitter, (2, 2)))
    data["outcome"] = (("root", "remedy", "seed"), np.zeros((2, len(names), 2), dtype=int))
    return data.assign_attrs(views=3)


def judged(**levels: float) -> dict[str, str]:
    return {check.name: check.verdict for check in Remedies().judge(made(**levels)).checks}


def test_the_claim_is_supported_where_no_remedy_brings_a_race():
    assert set(judged(won=0.99).values()) == {"supported"}


@pytest.mark.parametrize(
    ("levels", "refuted"),
    [
        ({"margin": 0.34}, {f"{name}: coverage by margin 0.1" for name in REMEDIES if name not in HELD}),
        ({"released": 0.34}, {f"{name}, then without it: coverage by margin 0.1" for name in HELD}),
        ({"eroded": 0.9}, {"init x 10: dominance after training minus before"}),
        ({"won": 0.5}, {"init x 100: races won by the view scaled up"}),
        ({"kd": 0.5}, {"strongest view's share, hard labels minus KD"}),
    ],
)
def test_each_part_of_the_claim_can_be_refuted(levels, refuted):
    found = judged(**({"won": 0.99} | levels))
    assert {name for name, verdict in found.items() if verdict == "refuted"} == refuted


def test_figures_and_table_show_every_remedy():
    data = made()
    verdict = Remedies().judge(data).to_json()
    rows = table_rows(data, verdict["curves"])
    assert [row[0] for row in rows] == [NAMES[name] for name in ("none", *REMEDIES)]
    assert all(row[-1] == "4" for row in rows)
    figures = list(figures_of(data, verdict).values())
    assert len(figures) == 3
    labels = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    assert sum("without it" in label for label in labels) == len(HELD)
    assert set(NAMES.values()) <= set(labels)
    assert all("<svg" in svg(made_figure) for made_figure in figures)


def test_unequal_views_are_the_ones_reported():
    chosen = blocker_001().replace(**UNEQUAL)
    assert chosen.data.view_strength == (1.0, 0.5, 0.25, 0.125, 0.0625)
    assert chosen.data.dim // chosen.data.views == blocker_001().data.dim // blocker_001().data.views


@pytest.mark.slow
def test_no_remedy_brings_a_race_at_smoke_scale():
    verdict = viewrace.reproduce(["remedies"], scale="smoke", seed=0)["remedies"]
    found = {check.name: check for check in verdict.checks}
    for name in REMEDIES:
        words = "single-view accuracy" if name in HELD else "coverage by margin 0.1"
        assert found[f"{name}: {words}"].verdict == "supported"
    assert verdict.measures["competition: dominance"].value > 0.8
    assert verdict.measures["competition: dominance centred"].value < 0.45
