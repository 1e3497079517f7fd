"""What members differ in: exact identities, invariances, and a null that holds its level."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from viewrace.measure import (
    ambiguity,
    disagreement,
    disputed,
    known_by_some,
    label_margins,
    linear_cka,
    mutual_information,
    noise_margins,
    pairwise_cka,
    split_share,
    usual_margin,
)


def logits_of(seed: int, members: int = 5, examples: int = 30, classes: int = 4) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 2, (members, examples, classes)))


@given(st.integers(0, 10**6), st.integers(2, 7))
def test_squared_error_of_the_average_is_mean_error_less_ambiguity(seed, members):
    probability = logits_of(seed, members).softmax(-1)
    truth = torch.nn.functional.one_hot(torch.arange(30) % 4, 4)
    mean_error = (probability - truth).square().sum(-1).mean(0)
    error = (probability.mean(0) - truth).square().sum(-1)
    assert torch.allclose(error, mean_error - ambiguity(probability), atol=1e-12)


@given(st.integers(0, 10**6))
def test_nothing_depends_on_the_order_of_the_members(seed):
    logits, labels = logits_of(seed), torch.arange(30) % 4
    mixed = logits[torch.from_numpy(np.random.default_rng(seed).permutation(5))]
    assert torch.allclose(disagreement(logits), disagreement(mixed))
    assert torch.allclose(ambiguity(logits.softmax(-1)), ambiguity(mixed.softmax(-1)))
    assert torch.allclose(mutual_information(logits.softmax(-1)), mutual_information(mixed.softmax(-1)))
    assert split_share(label_margins(logits, labels)) == pytest.approx(split_share(label_margins(mixed, labels)))


def test_copies_have_no_diversity():
    copies = logits_of(0, members=1).expand(4, -1, -1)
    assert disagreement(copies).sum() == 0
    assert ambiguity(copies.softmax(-1)).abs().max() < 1e-30
    assert mutual_information(copies.softmax(-1)).max() < 1e-15
    assert not disputed(label_margins(copies, torch.arange(30) % 4)).any()


def test_disagreement_counts_pairs():
    votes = torch.tensor([[0], [0], [1], [2]])
    logits = torch.nn.functional.one_hot(votes, 3).double()
    assert disagreement(logits).tolist() == pytest.approx([5 / 6])


def test_mutual_information_in_closed_form():
    probability = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]], dtype=torch.float64)
    assert mutual_information(probability).tolist() == pytest.approx([math.log(2)])


def test_margins_are_of_the_label():
    logits = torch.tensor([[[1.0, 5.0, 2.0], [4.0, 0.0, 1.0]]])
    assert label_margins(logits, torch.tensor([1, 2])).tolist() == [[3.0, -3.0]]


def test_known_by_some_needs_a_dispute_and_a_margin():
    margins = np.array([[4.0, 3.0, 0.5, -1.0, 4.0], [4.0, -1.0, -0.5, -2.0, 4.0]])
    usual = usual_margin(margins)
    assert usual == 4.0
    assert disputed(margins).tolist() == [False, True, True, False, False]
    assert known_by_some(margins, usual).tolist() == [False, True, False, False, False]


def test_two_groups_are_split_whole_and_three_by_hand():
    assert split_share(np.array([[0.0], [0.0], [3.0], [3.0], [3.0]])).tolist() == pytest.approx([1.0])
    # 0, 1, 3: mean 4/3, total 14/3; the best split is {0, 1} against {3}, between (5/2)^2 * 2/3
    assert split_share(np.array([[0.0], [1.0], [3.0]])).tolist() == pytest.approx([(6.25 * 2 / 3) / (14 / 3)])


@given(st.integers(0, 10**6), st.floats(0.1, 50), st.floats(-50, 50))
def test_the_split_does_not_depend_on_mean_and_spread(seed, scale, shift):
    margins = np.random.default_rng(seed).normal(size=(6, 10))
    assert split_share(scale * margins + shift) == pytest.approx(split_share(margins), rel=1e-6)


def test_the_split_of_three_gaussian_members_has_its_closed_form():
    """The pattern of three is an angle t; the split explains cos^2 t, t uniform within 30 degrees: 1/2 + 3 sqrt(3) / (4 pi)."""
    drawn = split_share(np.random.default_rng(0).normal(size=(3, 200_000)))
    assert drawn.mean() == pytest.approx(0.5 + 3 * math.sqrt(3) / (4 * math.pi), abs=1e-3)


@given(st.integers(0, 10**6))
def test_noise_keeps_mean_and_spread_of_every_example(seed):
    generator = np.random.default_rng(seed)
    margins = generator.exponential(size=(5, 40)) * generator.uniform(0, 9, 40)
    drawn = noise_margins(margins, generator)
    assert drawn.mean(axis=0) == pytest.approx(margins.mean(axis=0))
    assert drawn.std(axis=0) == pytest.approx(margins.std(axis=0))


def _excess(margins: np.ndarray, generator: np.random.Generator) -> float:
    null = np.concatenate([noise_margins(margins, generator) for _ in range(20)], axis=1)
    return split_share(margins)[disputed(margins)].mean() - split_share(null)[disputed(null)].mean()


def test_the_null_is_met_by_noise_of_any_size_and_not_by_views():
    generator = np.random.default_rng(0)
    mean, spread = generator.normal(1, 2, 4000), generator.uniform(0.1, 5, 4000)
    assert abs(_excess(mean + spread * generator.normal(size=(8, 4000)), generator)) < 0.005
    knows = generator.random((8, 4000)) < 1 / 3
    views = np.where(knows, 4.0, -0.5) + 0.5 * generator.normal(size=(8, 4000))
    assert _excess(views, generator) > 0.15


def test_cka_is_one_up_to_rotation_and_scale_and_agrees_in_pairs():
    first = logits_of(1, members=1, examples=200)[0]
    rotation = torch.linalg.qr(logits_of(2, members=1, examples=4)[0]).Q
    assert linear_cka(first, 3 * first @ rotation + 5) == pytest.approx(1.0)
    assert linear_cka(first, torch.ones_like(first)) == 0.0
    many = logits_of(3, members=3, examples=200)
    pairs = pairwise_cka(many)
    assert pairs.diagonal().tolist() == pytest.approx([1.0] * 3)
    assert float(pairs[0, 2]) == pytest.approx(linear_cka(many[0], many[2]))
    assert float(pairs[0, 2]) < 0.1
