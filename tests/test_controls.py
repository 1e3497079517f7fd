"""Claims random-features, gaussian-control and boosting: their measures against closed forms, and how they are judged."""

import numpy as np
import pytest
import torch
import xarray as xr

import viewrace
from viewrace.auditing.pilot import Reach, right_of, share_kept
from viewrace.claims.boosting import DEEP, METHODS, SIZES, Boosting
from viewrace.claims.gains import DIGITS, columns, digits_of, ensemble_gain, gain_by_size, gain_over, pooled
from viewrace.claims.gaussian_control import SOURCES, GaussianControl
from viewrace.claims.random_features import FIXED, KINDS, NETWORK, RandomFeatures
from viewrace.claims.trees import TREES, Trees
from viewrace.measure import Estimate, error_correlation
from viewrace.report.figures import figures_of
from viewrace.report.style import svg


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def noisy_members(members: int, examples: int = 2000, noise: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes; each member says the truth plus noise of its own."""
    draw = torch.Generator().manual_seed(1)
    labels = torch.arange(examples) % 2
    truth = torch.nn.functional.one_hot(labels, 2).double()
    return truth + noise * torch.randn(members, examples, 2, generator=draw, dtype=torch.float64), labels


def test_the_gain_is_accuracy_of_the_average_less_mean_accuracy():
    said, labels = noisy_members(5)
    found = ensemble_gain(said, labels, rng())
    whole = (said.mean(dim=0).argmax(-1) == labels).double().mean()
    each = (said.argmax(-1) == labels).double().mean()
    assert found.value == pytest.approx(float(whole - each))
    assert gain_by_size(said, labels, (1, 5), rng()) == pytest.approx([0.0, float(whole - each)])
    law = [float(torch.special.ndtr(torch.tensor(size / 2).sqrt())) for size in (1, 5)]
    assert found.low < law[1] - law[0] < found.high
    assert 0.005 < found.high - found.value < 0.05


def test_copies_gain_nothing_surely():
    said, labels = noisy_members(1)
    found = ensemble_gain(said.expand(4, -1, -1), labels, rng())
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_the_gain_over_other_models_is_the_difference_of_means():
    said, labels = noisy_members(4)
    right = right_of(said, labels)
    found = gain_over(right[0], right[1:], labels, rng())
    assert found.value == pytest.approx(right[0].mean() - right[1:].mean())


def test_pooling_narrows_by_what_root_seeds_do_not_share():
    part = xr.DataArray([[0.1, 0.0, 0.2], [0.3, 0.2, 0.4], [0.2, 0.1, 0.3]], dims=("root", "end"))
    reaches = [pooled(part, 100, overlap).high - 0.2 for overlap in (0.0, 0.5, 1.0)]
    assert reaches == pytest.approx([0.1 / np.sqrt(3), 0.1 * np.sqrt(2 / 3), 0.1])
    assert pooled(part.transpose("end", "root"), 100).value == pytest.approx(0.2)
    assert pooled(part, 100).n == 300


def test_pooled_intervals_of_overlapping_test_sets_cover():
    """Means over test sets drawn from one pool: the share of 95% intervals that hold the truth."""
    draw, size, pool, held = rng(), 40, 80, 0
    for _ in range(400):
        values = draw.standard_normal(pool)
        means = np.array([values[draw.permutation(pool)[:size]].mean() for _ in range(3)])
        half = 1.96 / np.sqrt(size)
        part = xr.DataArray(np.stack([means, means - half, means + half], axis=1), dims=("root", "end"))
        found = pooled(part, size, size / pool)
        held += found.low <= 0 <= found.high
    assert 0.92 < held / 400 < 0.98


def test_digits_are_cut_in_two_by_the_root_seed():
    train, test = digits_of(3, 1000)
    assert (len(train), len(test)) == (1000, DIGITS - 1000)
    again, other = digits_of(3, 1000)[0], digits_of(4, 1000)[0]
    assert torch.equal(train.images, again.images)
    assert not torch.equal(train.images, other.images)
    rows = {row.numpy().tobytes() for row in train.images.flatten(1)}
    shared = sum(row.numpy().tobytes() in rows for row in test.images.flatten(1))
    assert shared <= 2, "scikit-learn's digits hold next to no picture twice"


def test_error_correlation_is_the_mean_over_pairs():
    wrong = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0]], dtype=bool)
    assert error_correlation(wrong) == pytest.approx((0 + 1 + 0) / 3)
    assert error_correlation(np.vstack([wrong, np.zeros((1, 4), dtype=bool)])) == pytest.approx(1 / 3)
    assert np.isnan(error_correlation(wrong[:1]))


def test_a_share_is_judged_on_the_half_that_it_was_not_chosen_on():
    single, ensemble = np.tile([1.0, 0, 0, 0], 100), np.ones(400)
    half = torch.arange(400) < 200
    here, fifth = half.numpy(), np.arange(400) % 5
    cells = [np.where(here, 1.0, fifth < 3)[None], np.where(here, fifth < 2, 1.0)[None]]
    reach = Reach(ensemble, single[None], np.arange(400) % 20)
    assert share_kept(cells, reach, half).value == pytest.approx(((0.6 + 0.4) / 2 - 0.25) / 0.75)


@pytest.mark.parametrize("method", TREES)
def test_trees_are_those_of_scikit_learn(method):
    pair = digits_of(0, 150)
    trees, again = (Trees(method, pair, 0, 3) for _ in range(2))
    by_size, labels = trees.by_size(), pair[1].labels
    assert by_size.shape == (3, len(labels), 10)
    whole = trees.ensemble.predict_proba(pair[1].images.flatten(1).numpy())
    np.testing.assert_allclose(by_size[-1], whole, atol=1e-12)
    torch.testing.assert_close(by_size, again.by_size())
    assert trees.members(2).shape == (2, len(labels), 10)
    alone = trees.alone(1)
    assert right_of(alone, labels).mean() > 0.3
    first, second = (Trees(method, pair, 0, 3) for _ in range(2))
    torch.testing.assert_close(first.taught(1, 4.0, 0.0), second.alone(1))
    soft = Trees(method, pair, 0, 3).taught(1, 4.0, 1.0)
    assert soft.max() < 0.9 < alone.max(), "at a temperature of 4 nothing is certain"


def ends_of(value: float, half: float) -> list[float]:
    return [value, value - half, value + half]


def features_made(gain: float = 0.05, share: float = 0.1) -> xr.Dataset:
    roots = 3
    found = {name: [[ends_of(value, 0.02)] * len(KINDS)] * roots for name, value in (("gain", gain), ("share", share))}
    found["self_share"] = found["share"]
    data = xr.Dataset({name: (("root", "kind", "end"), values) for name, values in found.items()})
    for level, value in (("single", 0.9), ("ensemble", 0.95), ("student", 0.91), ("train_accuracy", 1.0)):
        data[level] = (("root", "kind"), np.full((roots, len(KINDS)), value))
    return _placed(data, kind=list(KINDS))


def boosting_made(gain: float = 0.05, share: float = 0.1, deep: float = 0.8, apart: float = 0.2) -> xr.Dataset:
    shares = [ends_of(deep if kind == DEEP else share, 0.02) for kind in METHODS]
    columns = {
        "gain": [ends_of(gain, 0.02)] * len(METHODS),
        "share": shares,
        "correlation": [ends_of(0.3, 0.02)] * len(METHODS),
        "correlation_apart": [ends_of(apart, 0.02)] * len(METHODS),
    }
    data = xr.Dataset({name: (("root", "kind", "end"), [values] * 3) for name, values in columns.items()})
    data["accuracy"] = (("root", "kind", "members"), np.full((3, len(METHODS), len(SIZES)), 0.9))
    data["accuracy"][:, -1, -2:] = np.nan
    for level, value in (("single", 0.8), ("ensemble", 0.9), ("student", 0.85)):
        data[level] = (("root", "kind"), np.full((3, len(METHODS)), value))
    return _placed(data, kind=list(METHODS), members=list(SIZES))


def gaussian_made(few: float = 0.005, many: float = 0.002, single: float = 0.9, control: float = 0.6) -> xr.Dataset:
    points = [[ends_of(few, 0.001), ends_of(many, 0.001)]] * len(SOURCES)
    data = xr.Dataset({"gain": (("root", "source", "examples", "end"), [points] * 3)})
    data["gain_by_size"] = (("root", "source", "examples", "members"), np.full((3, len(SOURCES), 2, 4), 0.004))
    data["single"] = (("root", "source", "examples"), np.full((3, len(SOURCES), 2), single))
    data["control_gain"] = (("root", "half", "end"), [[ends_of(0.0, 0.001), ends_of(control, 0.01)]] * 3)
    data["control_single"] = (("root", "half"), [[1.0, 0.4]] * 3)
    data["control_examples"] = ("root", [1500] * 3)
    return _placed(data, source=list(SOURCES), examples=[500, 8000], members=[1, 2, 3, 4], half=["all views", "one view"])


def _placed(data: xr.Dataset, **coords: list) -> xr.Dataset:
    data = data.assign_coords(root=[11, 12, 13], end=["value", "low", "high"], **coords)
    return data.assign_attrs(test_examples=797)


def judged(claim, data: xr.Dataset) -> dict[str, str]:
    return {check.name: check.verdict for check in claim.judge(data).checks}


MADE = {RandomFeatures: features_made, Boosting: boosting_made, GaussianControl: gaussian_made}


@pytest.mark.parametrize("claim", MADE, ids=lambda claim: claim.id)
def test_each_claim_is_supported_where_its_statement_holds(claim):
    assert set(judged(claim(), MADE[claim]()).values()) == {"supported"}


@pytest.mark.parametrize(
    ("claim", "levels", "refuted"),
    [
        (RandomFeatures, {"gain": -0.1}, {f"{kind}: ensemble minus single, accuracy" for kind in FIXED}),
        (RandomFeatures, {"share": 0.9}, {f"{kind}: share of the gain that the student keeps" for kind in FIXED}),
        (Boosting, {"gain": -0.1}, {f"{kind}: ensemble minus single" for kind in METHODS}),
        (Boosting, {"share": 0.9}, {f"{kind}: share that one student keeps" for kind in TREES}),
        (Boosting, {"deep": 0.1}, {f"{DEEP}: share that one student keeps"}),
        (Boosting, {"apart": -0.2}, {f"error correlation, {DEEP} minus {kind}" for kind in TREES}),
        (GaussianControl, {"few": 0.03}, {f"{source}, 500 examples: ensemble minus single" for source in SOURCES}),
        (GaussianControl, {"control": 0.05}, {"multi-view data, single networks right as often"}),
    ],
)
def test_each_part_can_be_refuted(claim, levels, refuted):
    found = judged(claim(), MADE[claim](**levels))
    assert {name for name, verdict in found.items() if verdict == "refuted"} == refuted


def test_the_contrasts_are_measured_and_not_judged():
    found = RandomFeatures().judge(features_made())
    assert not any(NETWORK in check.name or "units" in check.name for check in found.checks)
    assert found.measures[f"{NETWORK}: gain"].n == 3 * 797


def test_the_control_is_mixed_to_the_accuracy_of_the_gaussian_data():
    """1 - 0.6 s = 0.9 at s = 1/6, so the gain is 0.6 / 6."""
    verdict = GaussianControl().judge(gaussian_made())
    level, value, _, _, share = verdict.curves["control"]
    assert (level, share) == pytest.approx((0.9, 1 / 6))
    assert value == pytest.approx(0.1)


def test_curves_of_estimates_have_their_three_parts():
    points = [Estimate(1.0, 0.5, 2.0, 3, ""), Estimate(2.0, 1.5, 3.0, 3, "")]
    assert columns("x", points) == {"x_estimate": [1.0, 2.0], "x_low": [0.5, 1.5], "x_high": [2.0, 3.0]}


@pytest.mark.parametrize("claim", MADE, ids=lambda claim: claim.id)
def test_each_claim_has_a_figure_of_its_json(claim):
    data = MADE[claim]()
    (made,) = figures_of(data, claim().judge(data).to_json()).values()
    assert "<svg" in svg(made)


@pytest.mark.slow
@pytest.mark.parametrize("claim", MADE, ids=lambda claim: claim.id)
def test_each_claim_runs_at_smoke_scale(claim):
    study = viewrace.reproduce([claim.id], scale="smoke", seed=0)
    found = {check.name: check for check in study[claim.id].checks}
    if claim is RandomFeatures:
        assert found["random features: ensemble minus single, accuracy"].verdict == "supported"
    if claim is Boosting:
        assert found["AdaBoost: share that one student keeps"].verdict == "supported"
    assert all(np.isfinite(check.estimate) for check in found.values())
