"""How training ends: each seed by its own rule, in one of five groups."""

import pytest
import torch

from viewrace.config import Train
from viewrace.data import Distribution
from viewrace.train import HardLoss, Outcome, train


@pytest.mark.parametrize("method", ["flow", "gd", "sgd"])
def test_a_converged_seed_has_met_its_rule_and_stays_there(learn, tiny_examples, method):
    trained = learn(method=method, rate=10.0, batch=10, tolerance=0.05)
    assert trained.outcomes == {"converged": 3, "stuck-at-init": 0, "dead-class": 0, "diverged": 0, "out-of-steps": 0}
    assert (trained.loss <= 0.05).all()
    assert (trained.right == 1).all()
    logits = trained.logits(tiny_examples.inputs.double())
    again = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tiny_examples.labels.repeat(3), reduction="none")
    torch.testing.assert_close(again.view(3, -1).mean(dim=1), trained.loss)
    assert (logits.argmax(dim=-1) == tiny_examples.labels).all()


@pytest.mark.parametrize("method", ["flow", "gd"])
def test_a_low_loss_is_not_enough_while_an_example_is_wrong(learn, method):
    early = learn(1, method=method, rate=1.0, tolerance=0.6, steps=22)
    assert early.loss < 0.6
    assert early.right < 1
    assert early.outcomes["converged"] == 0
    late = learn(1, method=method, rate=1.0, tolerance=0.6)
    assert late.right == 1
    assert late.outcomes["converged"] == 1


def test_every_way_to_end_is_told_apart(sharp, sharp_family):
    """One run, five weights: an ordinary network, a perfect one, one whose last class never answers, one that answers
    nothing, and one whose logits overflow."""
    quiet = Distribution(sharp.replace(**{"data.noise": 0, "data.feature_noise": 0}).data, root=0)
    examples, views = quiet.train(), quiet.features.double()
    generators = [torch.Generator().manual_seed(seed) for seed in range(5)]
    weight = sharp_family.init(generators)["weight"].double()
    weight[1] = 10 * views.sum(dim=1)[:, None]
    weight[2, 2] = -views.sum(dim=(0, 1))
    weight[3] = -views.sum(dim=(0, 1))
    weight[4] = 1e308 * views.sum(dim=1)[:, None]
    config = Train(steps=100, tolerance=1e-6, precision="float64")
    trained = train(sharp_family, {"weight": weight}, examples.inputs, HardLoss(examples.labels), config)
    assert [Outcome(int(outcome)).label for outcome in trained.outcome] == [
        "out-of-steps",
        "converged",
        "dead-class",
        "stuck-at-init",
        "diverged",
    ]
    assert set(trained.outcomes.values()) == {1}
    assert trained.evaluations[1] == trained.evaluations[4] == 1
    assert torch.equal(trained.params["weight"][3], weight[3])
    assert torch.isfinite(trained.loss[:4]).all()
    assert not torch.isfinite(trained.loss[4])


def test_a_class_without_examples_is_not_dead(sharp_family, tiny_examples, seeds):
    rows = tiny_examples.labels != 1
    inputs, labels = tiny_examples.inputs[rows], tiny_examples.labels[rows]
    assert train(sharp_family, seeds(2), inputs, HardLoss(labels), Train()).outcomes["converged"] == 2


def test_a_tiny_init_and_few_steps_are_stuck_at_init(learn, initial):
    trained = learn({"weight": 1e-3 * initial(3)}, steps=20)
    assert trained.outcomes["stuck-at-init"] == len(trained) == 3
    assert learn({"weight": 1e-3 * initial(3)}).outcomes["converged"] == 3


def test_too_large_a_rate_diverges_without_an_exception(learn, tiny_examples):
    trained = learn(method="gd", rate=1e6, loss=HardLoss(tiny_examples.labels, "mse"))
    assert trained.outcomes["diverged"] == len(trained) == 3
    assert not torch.isfinite(trained.loss).any()
    assert (trained.evaluations < 100).all()


@pytest.mark.parametrize("changes", [{}, {"steps": 10}, {"steps": 40}, {"method": "gd", "rate": 50.0, "steps": 60}], ids=str)
def test_every_seed_is_in_one_group(learn, changes):
    trained = learn(5, **changes)
    assert sum(trained.outcomes.values()) == 5
    for outcome in Outcome:
        assert trained.outcomes[outcome.label] == int((trained.outcome == outcome).sum())


def test_a_seed_stops_at_its_time_on_the_flow(learn):
    trained = learn(time=3.0, tolerance=1e-12, error=1e-3)
    assert (trained.time >= 3).all()
    assert (trained.time < 6).all()
    longer = learn(time=30.0, tolerance=1e-12, error=1e-3)
    assert (longer.loss < trained.loss).all()
