"""The winner told before training: rules against the race itself, probabilities, refusals."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import helpers
from viewrace import race
from viewrace.config import settings
from viewrace.data import Distribution
from viewrace.race import Calibration, calibration_error, choose, fit_calibration, fit_weights, log_advantage, predict, start_of
from viewrace.race.advantage import Start, view_strength
from viewrace.study import predict_winners, prediction_summary, train_networks

CLEAN = {
    "data.classes": 4,
    "data.views": 3,
    "data.dim": 12,
    "data.patches": 3,
    "data.examples": 40,
    "data.test_examples": 40,
    "data.distractors": 0.0,
    "data.noise": 0.0,
    "data.feature_noise": 0.0,
    "net.width": 4,
}


def begin(changes, seeds, count=3):
    return helpers.begin(CLEAN | changes, seeds, count)


def made(correlation, strength, q):
    """A start without background: its growth is S a^(q-1)."""
    a, s = torch.as_tensor(correlation, dtype=torch.float64), torch.as_tensor(strength, dtype=torch.float64)
    return Start(a, s[:, None, :] * a.clamp(min=0) ** (q - 1), s, q, 1.0)


@pytest.mark.parametrize("q", [3, 4, 5])
def test_without_background_the_growth_stands_for_the_correlation_itself(q, seeds):
    start = start_of(*begin({"net.q": q}, seeds))
    # every class starts at p = 1/K: the residual of the right class is the same for all examples
    factor = (1 - 1 / 4) ** (1 / (q - 1))
    strong = start.correlation > 0.3 * start.correlation.max()
    torch.testing.assert_close(start.effective[strong], factor * start.correlation[strong], rtol=2e-3, atol=0)


def test_the_growth_is_the_derivative_of_the_correlation_along_the_flow(seeds):
    family, params, examples, features = begin({"data.distractors": 1.0, "data.patches": 6, "data.noise": 0.1}, seeds, 2)
    start = start_of(family, params, examples, features)
    weight = params["weight"].clone().requires_grad_()
    logits = torch.func.vmap(lambda w: family.apply({"weight": w}, examples.inputs.double()))(weight)
    total = sum(torch.nn.functional.cross_entropy(each, examples.labels) for each in logits)
    (gradient,) = torch.autograd.grad(total, weight)
    share = torch.bincount(examples.labels) / len(examples)
    expected = -torch.einsum("skmd,kld->skml", gradient, features.double()) / share[:, None, None]
    torch.testing.assert_close(start.growth, expected, rtol=1e-6, atol=1e-12)


def test_strength_is_the_mean_power_over_the_multi_view_examples_of_the_class():
    examples = Distribution(settings(CLEAN | {"data.mu": 0.5}).data, root=0).train()
    found = view_strength(examples, 4, 4)
    for label in range(4):
        for view in range(3):
            values = [
                float(z[label, view]) ** 4
                for z, y, single in zip(examples.amplitude, examples.labels, examples.single, strict=True)
                if y == label and not single
            ]
            assert float(found[label, view]) == pytest.approx(sum(values) / len(values), rel=1e-5)


@given(
    q=st.sampled_from([3, 4, 5]),
    number=st.integers(0, 10_000),
    views=st.integers(2, 4),
)
def test_the_rule_names_the_view_that_wins_the_power_law_race(q, number, views):
    generator = np.random.default_rng(number)
    a, s = generator.normal(size=(1, 1, 3, views)), generator.uniform(0.5, 2.0, size=(1, views))
    advantage = log_advantage(made(a, s, q), "azl").numpy()[0, 0]
    order = np.sort(advantage)
    if order[-1] < -60 or order[-1] - order[-2] < 0.02:
        return

    def race_equation(_, flat):
        now = np.maximum(flat.reshape(3, views), 0)
        return (s * now ** (q - 1) / (1 + (s * now**q).sum())).ravel()

    end = solve_ivp(race_equation, (0, 1e5), a.ravel(), rtol=1e-9, atol=1e-12, events=_large).y[:, -1].reshape(3, views)
    assert (s * np.maximum(end, 0) ** q).sum(axis=0).argmax() == advantage.argmax()


def _large(_, flat):
    return flat.max() - 30


_large.terminal = True


@given(number=st.integers(0, 10_000), scale=st.floats(0.1, 10.0))
def test_scaling_all_inits_moves_no_lead_and_permuting_views_permutes_the_prediction(number, scale):
    generator = np.random.default_rng(number)
    a, s = generator.normal(size=(2, 3, 4, 3)), generator.uniform(0.5, 2.0, size=(3, 3))
    a[:, :, 0] = np.abs(a[:, :, 0])  # every view has a positive start
    order = generator.permutation(3)
    for rule in race.RULES:
        plain = log_advantage(made(a, s, 4), rule)
        torch.testing.assert_close(log_advantage(made(scale * a, s, 4), rule) - plain, plain * 0 + math.log(scale))
        torch.testing.assert_close(log_advantage(made(a[..., order], s[..., order], 4), rule), plain[..., order])


def test_at_q_3_the_rules_of_azl_and_of_the_neural_race_are_one():
    generator = np.random.default_rng(0)
    a, s = generator.normal(size=(2, 3, 4, 3)), generator.uniform(0.5, 2.0, size=(3, 3))
    torch.testing.assert_close(log_advantage(made(a, s, 3), "azl"), log_advantage(made(a, s, 3), "neural-race"))
    apart = log_advantage(made(a, s, 4), "azl") - log_advantage(made(a, s, 4), "neural-race")
    assert apart.abs().max() > 0.1


@pytest.mark.parametrize("slope", [2.0, 10.0])
def test_the_calibration_finds_the_slope_that_made_the_winners(slope):
    generator = np.random.default_rng(1)
    advantage = generator.normal(size=(400, 10, 3))
    won = (slope * advantage + generator.gumbel(size=advantage.shape)).argmax(axis=-1)
    found = fit_calibration(advantage, won)
    assert found.slope == pytest.approx(slope, rel=0.15)
    told = predict(advantage, found)
    right = told.winner == won
    assert calibration_error(told.probability.max(axis=-1), right) < 0.035  # twice what 400 pairs a bin leave to chance
    assert found.accuracy == pytest.approx(right.mean())


def test_winners_that_the_rule_always_tells_leave_a_finite_slope_and_some_doubt():
    advantage = np.random.default_rng(2).normal(size=(30, 4, 3))
    found = fit_calibration(advantage, advantage.argmax(axis=-1))
    sure = predict(advantage, found).probability.max(axis=-1)
    assert np.isfinite(found.slope)
    assert 0.9 < sure.max() < 1


@given(number=st.integers(0, 10_000))
def test_probabilities_sum_to_one_and_grow_with_the_lead(number):
    advantage = np.random.default_rng(number).normal(size=(20, 5, 2))
    told = predict(advantage, Calibration(slope=3.0, lapse=0.02, pairs=1, accuracy=1.0))
    np.testing.assert_allclose(told.probability.sum(axis=-1), 1)
    order = told.lead.ravel().argsort()
    assert (np.diff(told.probability.max(axis=-1).ravel()[order]) >= -1e-12).all()


def test_no_pair_with_a_winner_is_refused_in_one_line(refusal):
    assert "no pilot network learned" in refusal(fit_calibration, np.zeros((2, 3, 2)), -np.ones((2, 3), dtype=int))


@pytest.mark.parametrize("q", [3, 4, 5])
def test_the_fit_recovers_the_exponent_of_strength(q):
    generator = np.random.default_rng(q)
    a, s = np.abs(generator.normal(size=(60, 10, 3))), generator.choice([1.0, 1.5, 3.0], size=(60, 10, 3))
    features = np.stack([np.log(a), np.log(s)], axis=-1)
    lead, strength = fit_weights(features, (features @ [1, 1 / (q - 2)]).argmax(axis=-1))
    assert strength / lead == pytest.approx(1 / (q - 2), rel=0.05)


def test_a_view_that_cannot_start_does_not_bend_the_fit():
    generator = np.random.default_rng(3)
    a, s = np.abs(generator.normal(size=(80, 10, 3))), generator.choice([1.0, 1.5, 3.0], size=(80, 10, 3))
    a[generator.random(a.shape) < 0.05] = 1e-30
    a[..., 0] = np.maximum(a[..., 0], 0.1)
    features = np.stack([np.log(a), np.log(s)], axis=-1)
    lead, strength = fit_weights(features, (features @ [1, 0.5]).argmax(axis=-1))
    assert strength / lead == pytest.approx(0.5, rel=0.05)


def test_a_view_that_cannot_start_is_chosen_only_where_no_other_can():
    features = np.log([[[[1e-30, 1.0], [0.5, 1.0], [0.4, 1.0]]], [[[1e-30, 1.0], [1e-30, 1.0], [1e-30, 2.0]]]])
    for lead in (1.0, -1.0):
        assert choose(features, np.array([lead, 0.5]))[0, 0] == (1 if lead > 0 else 2)
    assert choose(features, np.array([1.0, 0.5]))[1, 0] == 2


def test_calibration_error_is_the_gap_between_what_was_said_and_what_was():
    assert calibration_error(np.full(100, 0.9), np.arange(100) % 10 > 0) < 0.05
    assert calibration_error(np.full(1000, 0.9), np.random.default_rng(0).random(1000) < 0.5) == pytest.approx(0.4, abs=0.06)


def test_a_prediction_is_of_the_networks_that_train_would_train(tiny):
    told = predict_winners(tiny, count=4, seed=3, pilots=4, verify=True)
    trained = train_networks(tiny, count=4, seed=3)
    np.testing.assert_array_equal(told["winner"], trained["winner"])
    assert float((told["predicted"] == told["winner"]).mean()) > 0.6
    lines = prediction_summary(told)
    assert lines["right on these networks, once trained"].n == 4
    assert 0.5 <= told.attrs["pilot_coverage"] < 0.9  # two views, and a race


def test_winners_that_are_all_told_leave_a_doubt_of_their_number(tiny):
    told = predict_winners(tiny, count=4, seed=3, pilots=4, verify=True)
    told["predicted"] = told["winner"]
    right = prediction_summary(told)["right on these networks, once trained"]
    assert (right.value, right.low, right.high) == (1.0, pytest.approx(0.025**0.25), 1.0)


def test_where_every_view_is_learned_the_pilots_say_so(tiny):
    told = predict_winners(tiny.replace(**{"net.q": 1}), count=2, pilots=3, rule="probe")
    assert told.attrs["pilot_coverage"] > 0.9
    assert any("1/M = 0.50 in a race" in name for name in prediction_summary(told))


def test_predictions_are_refused_where_the_theory_has_none(tiny, refusal):
    assert "leads keep their ratio" in refusal(predict_winners, tiny.replace(**{"net.q": 2}))
    assert "all are learned" in refusal(predict_winners, tiny.replace(**{"net.q": 1}))
    assert "--rule probe" in refusal(predict_winners, tiny.replace(**{"net.family": "mlp"}))
    assert "received best" in refusal(predict_winners, tiny, rule="best")
    assert "received 1" in refusal(predict_winners, tiny, pilots=1)
    assert "received 0" in refusal(predict_winners, tiny, count=0)
    assert "received -1" in refusal(predict_winners, tiny, seed=-1)
    assert "at least 2" in refusal(predict_winners, tiny.replace(**{"data.views": 1}))


def test_the_estimate_from_probes_serves_any_family(tiny):
    told = predict_winners(
        tiny.replace(**{"net.family": "mlp", "net.init": 1.0, "net.rho": 1.0}), count=2, pilots=3, rule="probe"
    )
    assert told.sizes == {"seed": 2, "label": 3, "view": 2}
    np.testing.assert_allclose(told["probability"].sum("view"), 1)


@pytest.mark.slow
def test_nearly_every_winner_is_told_at_the_preset():
    import viewrace

    chosen = viewrace.preset(classes=6)
    told = predict_winners(chosen, count=12, seed=11, pilots=8, verify=True)
    assert float((told["predicted"] == told["winner"]).mean()) > 0.93
    shuffled = told["winner"].values[::-1]
    assert float((told["predicted"].values == shuffled).mean()) < 0.6
