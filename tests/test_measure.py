"""Measures on logits made by hand, and their invariances."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from viewrace.data import Distribution
from viewrace.measure import (
    Views,
    coverage,
    dominance,
    effective_rank,
    in_context_accuracy,
    learned,
    margin,
    seed_diversity,
    surviving_views,
    union,
    view_logits,
    views_of,
    winner,
)
from viewrace.nets import PatchNet, make_family
from viewrace.train import HardLoss, train


def network(own: list[list[float]], other: float = 0.0) -> Tensor:
    """(1, class, view, 1, class) logits: class j answers `own[j][l]` to its view l, every other class `other`."""
    classes, views = len(own), len(own[0])
    probes = torch.full((1, classes, views, 1, classes), other, dtype=torch.float64)
    for label, row in enumerate(own):
        for view, logit in enumerate(row):
            probes[0, label, view, 0, label] = logit
    return probes


RACE = network([[4.0, 1.0, 0.0], [2.0, 0.1, 0.9], [0.0, -1.0, 0.0]])
"""Class 0: one view and a quarter of it; class 1: one, a twentieth and nearly a half; class 2: nothing."""


def test_coverage_by_its_definitions():
    assert learned(RACE)[0].tolist() == [[1, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert learned(RACE, 0.1)[0].tolist() == [[1, 1, 0], [1, 0, 1], [0, 0, 0]]
    assert learned(RACE, 0.5)[0].tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert coverage(RACE).tolist() == pytest.approx([5 / 9])
    assert margin(RACE).tolist() == coverage(RACE, 0.1).tolist() == pytest.approx([4 / 9])
    assert coverage(RACE, 0.5).tolist() == pytest.approx([2 / 9])


def test_a_view_is_learned_only_where_its_class_answers_loudest():
    assert coverage(network([[4.0, 1.0], [2.0, 3.0]], other=1.5)).tolist() == pytest.approx([3 / 4])
    assert coverage(network([[-1.0, -2.0], [-1.0, -2.0]], other=-3.0)).tolist() == [0.0]


def test_the_bound_of_the_margin_belongs_to_what_is_learned():
    assert coverage(network([[4.0, 2.0], [4.0, 1.999]]), 0.5).tolist() == pytest.approx([3 / 4])


def test_several_probes_of_a_view_count_by_their_share():
    probes = torch.cat([network([[4.0, 1.0], [2.0, 0.0]]), network([[4.0, 3.0], [4.0, 4.0]])], dim=3)
    assert learned(probes)[0].tolist() == [[1, 1], [1, 0.5]]
    assert learned(probes, 0.5)[0].tolist() == [[1, 0.5], [1, 0.5]]
    assert coverage(probes, 0.5).tolist() == pytest.approx([3 / 4])
    assert winner(probes).tolist() == [[0, 0]]


def test_the_race_by_hand():
    assert winner(RACE).tolist() == [[0, 0, -1]]
    shares = np.array([[0.8, 0.2, 0.0], [2 / 3, 0.1 / 3, 0.9 / 3], [1 / 3] * 3])
    assert dominance(RACE).tolist() == pytest.approx([shares.max(axis=1).mean()])
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    assert effective_rank(RACE).tolist() == pytest.approx([np.exp(-(shares * logs).sum(axis=1)).mean()])
    assert surviving_views(RACE).tolist() == pytest.approx([(2 + 2 + 0) / 3])
    assert surviving_views(RACE, 0.4).tolist() == pytest.approx([(1 + 2 + 0) / 3])


def test_the_ends_of_the_race_measures():
    one, all_alike = network([[3.0, 0.0, 0.0]] * 3), network([[2.0, 2.0, 2.0]] * 3)
    assert dominance(one).tolist() == pytest.approx([1.0])
    assert effective_rank(one).tolist() == pytest.approx([1.0])
    assert surviving_views(one).tolist() == [1.0]
    assert dominance(all_alike).tolist() == pytest.approx([1 / 3])
    assert effective_rank(all_alike).tolist() == pytest.approx([3.0])
    assert surviving_views(all_alike).tolist() == [3.0]


def test_diversity_is_the_entropy_of_the_lottery():
    fair = np.array([[0, 0, 0], [1, 0, -1], [2, 1, -1], [0, 0, 0], [1, 0, -1], [2, 1, 2]])
    third = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)) / math.log(3)
    assert seed_diversity(fair, 3).tolist() == pytest.approx([1.0, third, third])
    assert seed_diversity(np.full((4, 2), 1), 3).tolist() == [0.0, 0.0]
    assert seed_diversity(np.full((4, 2), -1), 3).tolist() == [0.0, 0.0]
    assert seed_diversity(np.zeros((4, 2), dtype=int), 1).tolist() == [0.0, 0.0]


def test_an_ensemble_is_measured_on_its_averaged_logits_and_a_union_on_the_sets():
    probes = torch.cat([network([[4.0, 0.0], [0.0, 4.0]]), network([[4.0, 0.0], [4.0, 0.0]], other=1.0)])
    assert union(probes) == pytest.approx(3 / 4)
    single = torch.tensor([[[2.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [4.0, 0.0]]])
    views = Views(probes, single, torch.tensor([0, 1]))
    average = views.average()
    assert len(average) == 1
    assert coverage(average.probes).tolist() == pytest.approx([3 / 4])
    assert average.probes[0, 0, 1, 0].tolist() == [0.0, 0.5]
    assert in_context_accuracy(views.single, views.labels).tolist() == [1.0, 0.0]
    assert in_context_accuracy(average.single, average.labels).tolist() == [0.5]
    assert torch.equal(views.average(torch.tensor([1])).probes, views.take(slice(1, 2)).probes)


def test_an_ensemble_can_lose_what_its_members_know():
    loud = network([[9.0, 0.0], [9.0, 0.0]])
    quiet = network([[0.0, 1.0], [0.0, 1.0]])
    both = torch.cat([loud, quiet])
    assert union(both, 0.5) == 1.0
    assert coverage(both.mean(dim=0, keepdim=True), 0.5).tolist() == pytest.approx([1 / 2])


def test_what_is_not_finite_counts_as_wrong():
    single = torch.tensor([[[math.nan, 1.0], [math.inf, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    assert in_context_accuracy(single, torch.tensor([1, 0])).tolist() == [0.0, 0.0]
    assert in_context_accuracy(single, torch.tensor([0, 1])).tolist() == [0.0, 1.0]
    lost = torch.full_like(RACE, math.nan)
    assert coverage(lost).tolist() == margin(lost).tolist() == [0.0]
    assert winner(lost).tolist() == [[-1, -1, -1]]


def test_probes_show_each_view_to_each_network(tiny):
    """A network whose neurons are chosen views answers those, and nothing else."""
    distribution = Distribution(tiny.data, root=0)
    family = PatchNet(classes=3, dim=8, patches=5, width=1, q=1, rho=1.0, init=1.0)
    chosen = torch.tensor([[0, 1, 1], [1, 1, 0]])
    weight = torch.stack([2 * distribution.features[torch.arange(3), row] for row in chosen])[:, :, None]
    loss = HardLoss(torch.arange(3))
    trained = train(family, {"weight": weight}, distribution.features[:, :1], loss, tiny.train.model_copy(update={"steps": 1}))
    probes = view_logits(trained, distribution)
    assert probes.shape == (2, 3, 2, 1, 3)
    expected = 2.0 * torch.nn.functional.one_hot(chosen, 2)
    torch.testing.assert_close(probes[:, torch.arange(3), :, 0, torch.arange(3)].permute(1, 0, 2), expected, rtol=0, atol=1e-6)
    assert winner(probes).tolist() == chosen.tolist()
    assert margin(probes).tolist() == pytest.approx([0.5, 0.5])
    assert union(probes) == pytest.approx(5 / 6)


def test_networks_are_shown_the_fresh_single_view_examples(tiny, tiny_examples, seeds):
    distribution = Distribution(tiny.data, root=0)
    trained = train(make_family(tiny.net, tiny.data), seeds(2), tiny_examples.inputs, HardLoss(tiny_examples.labels), tiny.train)
    views, single = views_of(trained, distribution), distribution.test_single()
    assert torch.equal(views.labels, single.labels)
    assert torch.equal(views.single, trained.logits(single.inputs))
    assert torch.equal(views.probes, view_logits(trained, distribution))


SEEDS, CLASSES, VIEWS = 3, 4, 3
responses = arrays.arrays(
    np.float64, (SEEDS, CLASSES, VIEWS, 1, CLASSES), elements=st.floats(-5, 5).map(lambda x: round(x, 3))
).map(torch.from_numpy)
FRACTIONS = (0.0, 0.1, 0.5)


def every_measure(probes: Tensor) -> list[np.ndarray]:
    numbers = [coverage(probes, fraction) for fraction in FRACTIONS]
    return [*numbers, dominance(probes), effective_rank(probes), surviving_views(probes)]


@given(probes=responses, order=st.permutations(range(SEEDS)))
def test_measures_follow_the_seeds(probes, order):
    index = list(order)
    for before, after in zip(every_measure(probes), every_measure(probes[index]), strict=True):
        np.testing.assert_allclose(after, before[index])
    assert union(probes) == pytest.approx(union(probes[index]))


@given(probes=responses, classes=st.permutations(range(CLASSES)), views=st.permutations(range(VIEWS)))
def test_names_of_classes_and_views_mean_nothing(probes, classes, views):
    # Ties of the largest logit go to the lower class: break them, so that the order of classes cannot matter.
    probes = probes + 1e-5 * torch.arange(CLASSES, dtype=torch.float64)
    renamed = probes[:, list(classes)][..., list(classes)][:, :, list(views)]
    for before, after in zip(every_measure(probes), every_measure(renamed), strict=True):
        np.testing.assert_allclose(after, before)
    assert union(renamed) == pytest.approx(union(probes))
    won = winner(probes)[:, list(classes)]
    again = winner(renamed)
    places = np.append(np.argsort(views), -1)  # the last serves -1, no winner
    strongest = probes[:, range(CLASSES), :, 0, range(CLASSES)].permute(1, 0, 2).sort(dim=2).values
    clear = (strongest[..., -1] - strongest[..., -2] > 0)[:, list(classes)].numpy()
    assert (places[won] == again)[clear | (won < 0)].all()


@given(probes=responses, scale=st.floats(0.01, 100))
def test_the_scale_of_logits_means_nothing(probes, scale):
    for before, after in zip(every_measure(probes)[3:5], every_measure(scale * probes)[3:5], strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-9)
    power = 2.0 ** round(math.log2(scale))  # exact, so that no logit crosses its threshold by rounding
    for before, after in zip(every_measure(probes), every_measure(power * probes), strict=True):
        np.testing.assert_allclose(after, before)
    assert (winner(power * probes) == winner(probes)).all()


@given(probes=responses)
def test_stricter_measures_find_less(probes):
    isolated, tenth, half = (coverage(probes, fraction) for fraction in FRACTIONS)
    assert (half <= tenth).all()
    assert (tenth <= isolated).all()
    for fraction in FRACTIONS:
        mine = coverage(probes, fraction)
        assert mine.max() - 1e-12 <= union(probes, fraction) <= min(1.0, mine.sum()) + 1e-12
    assert (dominance(probes) >= 1 / VIEWS - 1e-12).all()
    assert (dominance(probes) <= 1 + 1e-12).all()
    assert (effective_rank(probes) >= 1 - 1e-12).all()
    assert (effective_rank(probes) <= VIEWS + 1e-12).all()


@given(probes=responses)
def test_a_union_of_copies_is_the_network(probes):
    one = probes[:1]
    for fraction in FRACTIONS:
        assert union(one.expand(4, -1, -1, -1, -1), fraction) == pytest.approx(float(coverage(one, fraction)[0]))
        assert coverage(one.expand(4, -1, -1, -1, -1).mean(dim=0, keepdim=True), fraction) == coverage(one, fraction)
