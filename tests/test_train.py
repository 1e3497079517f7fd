"""Training against independent integrators and plain loops; every way a seed can end; no seed knows of another."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from viewrace.config import Train
from viewrace.data import Distribution
from viewrace.measure import view_logits, winner
from viewrace.nets import MLP, PatchNet
from viewrace.train import HardLoss, SoftLoss, Trace, train
from viewrace.train.chebyshev import MOST_STAGES, scheme, stable_reach, stages_for
from viewrace.train.objective import BLOCK_NUMBERS, Objective

NEVER = 1e-12
"""A tolerance that is not reached."""


@pytest.fixture(scope="module")
def descent(tiny_examples):
    """Minus the gradient of the cross-entropy by the weights of one network with q = 3, rho = 1; NumPy, written anew."""
    inputs = tiny_examples.inputs.double().numpy()
    target = np.eye(3)[tiny_examples.labels.numpy()]

    def direction(weight: np.ndarray, rows=slice(None)) -> np.ndarray:
        shown, wanted = inputs[rows], target[rows]
        response = np.einsum("kmd,npd->nkmp", weight, shown)
        value = np.where(response > 1, response - 2 / 3, np.clip(response, 0, 1) ** 3 / 3)
        logits = value.sum(axis=(2, 3))
        chance = np.exp(logits - logits.max(axis=1, keepdims=True))
        chance /= chance.sum(axis=1, keepdims=True)
        return np.einsum("nk,nkmp,npd->kmd", (wanted - chance) / len(shown), np.clip(response, 0, 1) ** 2, shown)

    return direction


def distance(first, second) -> float:
    return float(np.linalg.norm(np.asarray(first) - np.asarray(second)) / np.linalg.norm(np.asarray(second)))


def solved(descent, start: np.ndarray, until: float):
    """The flow from `start` as a function of time, by SciPy."""

    def direction(_, flat: np.ndarray) -> np.ndarray:
        return descent(flat.reshape(start.shape)).ravel()

    return solve_ivp(direction, (0, until), start.ravel(), method="DOP853", rtol=1e-8, atol=1e-10, dense_output=True).sol


def test_the_flow_is_that_of_a_general_integrator_and_as_close_as_asked_for(learn, initial, descent):
    exact = [solved(descent, start, until=120.0) for start in initial(2).numpy()]
    errors = []
    for error in (1e-1, 1e-3, 1e-5):
        trained = learn(2, time=60.0, error=error, tolerance=NEVER, steps=10_000)
        assert (trained.time >= 60).all()
        ends = [solution(float(time)) for solution, time in zip(exact, trained.time, strict=True)]
        errors.append(max(distance(weight.ravel(), end) for weight, end in zip(trained.params["weight"], ends, strict=True)))
    assert errors[0] < 0.1
    assert errors[2] < 1e-3
    # Order two under an error per step of order three: 100 times the care, 100^(2/3) = 22 times the accuracy.
    assert errors[0] / errors[1] > 5
    assert 10 < errors[1] / errors[2] < 50


def test_a_stiff_flow_is_followed_in_few_evaluations():
    """Least squares by a linear network: the flow is known in closed form, at rates from 0.0006 to 8."""
    chance = torch.Generator().manual_seed(2)
    inputs = torch.randn(40, 1, 4, generator=chance, dtype=torch.float64) * torch.tensor([3.0, 1.0, 0.2, 0.03])
    labels = torch.arange(40) % 3
    sharp_family = MLP(classes=3, dim=4, patches=1, hidden=(), q=1, rho=1.0, init=1.0)
    design = np.hstack([inputs[:, 0].numpy(), np.ones((40, 1))])
    rates, modes = np.linalg.eigh(design.T @ design / 40)
    assert rates.max() / rates.min() > 1000
    best = np.linalg.lstsq(design, np.eye(3)[labels.numpy()], rcond=None)[0].T
    start = {name: tensor.double() for name, tensor in sharp_family.init([chance]).items()}
    from_best = np.hstack([start["weight_0"][0].numpy(), start["bias_0"][0].numpy()[:, None]]) - best
    config = Train(time=300.0, error=0.01, tolerance=NEVER, steps=10_000, precision="float64")
    trained = train(sharp_family, start, inputs, HardLoss(labels, "mse"), config)
    end = best + from_best @ modes @ np.diag(np.exp(-rates * float(trained.time[0]))) @ modes.T
    assert distance(trained.params["weight_0"][0], end[:, :4]) < 0.005
    assert distance(trained.params["bias_0"][0], end[:, 4]) < 0.005
    # Half of what Euler's method needs to be stable at all.
    assert int(trained.evaluations[0]) < 0.5 * float(trained.time[0]) * rates.max() / 2


def runge_kutta_chebyshev(direction, start, step: float, stages: int):
    """One step of the scheme as its authors write it."""
    first, rest = scheme(stages)
    slope = direction(start)
    before, now = start, start + first * step * slope
    for mu, nu, move, pull in rest:
        following = (1 - mu - nu) * start + mu * now + nu * before + step * (move * direction(now) + pull * slope)
        before, now = now, following
    return now


@pytest.mark.parametrize("stages", [2, 3, 4, 5, 10, 20, 40])
@pytest.mark.parametrize(
    ("direction", "exact"), [(lambda y: -y, math.exp(-1.0)), (lambda y: -y * y, 0.5)], ids=["linear", "quadratic"]
)
def test_the_scheme_is_of_order_two(stages, direction, exact):
    errors = []
    for steps in (40, 80):
        value = 1.0
        for _ in range(steps):
            value = runge_kutta_chebyshev(direction, value, 1 / steps, stages)
        errors.append(abs(value - exact))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("stages", [2, 3, 4, 5, 10, 20, 40])
def test_the_scheme_is_stable_as_far_as_it_claims_and_little_further(stages):
    reach = stable_reach(stages)
    inside, outside = np.linspace(-reach, 0, 4001), np.linspace(-1.2 * reach, -1.0001 * reach, 1001)
    assert np.abs(runge_kutta_chebyshev(lambda y: inside * y, np.ones(4001), 1.0, stages)).max() <= 1 + 1e-12
    assert np.abs(runge_kutta_chebyshev(lambda y: outside * y, np.ones(1001), 1.0, stages)).max() > 1


@given(reach=st.floats(0, stable_reach(MOST_STAGES) * 0.9999))
def test_the_fewest_stages_that_reach_are_taken(reach):
    stages = stages_for(reach)
    assert stable_reach(stages) >= reach * (1 - 1e-9)
    assert stages == 2 or stable_reach(stages - 1) < reach * (1 + 1e-9)


def test_no_more_than_the_most_stages_are_taken():
    assert stages_for(1e12) == MOST_STAGES
    assert stages_for(0.0) == 2


def test_the_loss_never_rises_along_the_flow(sharp, learn):
    trace = Trace(Distribution(sharp.data, root=0).features)
    trained = learn(trace=trace)
    assert len(trace.loss) > 5
    assert max(np.diff(trace.loss)) < 1e-6
    assert (np.diff(trace.time) > 0).all()
    assert trace.loss[-1] == pytest.approx(float(trained.loss[0]))
    assert trace.time[-1] == pytest.approx(float(trained.time[0]))
    assert trace.stacked().shape == (len(trace.loss), 3, 2)
    best = torch.einsum("kmd,kld->klm", trained.params["weight"][0], trace.features.double()).amax(dim=2)
    torch.testing.assert_close(trace.stacked()[-1], best)


def plain_descent(weight: np.ndarray, descent, updates: int, rate: float, momentum: float) -> np.ndarray:
    velocity = np.zeros_like(weight)
    for _ in range(updates):
        velocity = momentum * velocity + rate * descent(weight)
        weight = weight + velocity
    return weight


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_gradient_descent_is_the_textbook_loop(learn, initial, descent, momentum):
    trained = learn(2, method="gd", rate=0.3, momentum=momentum, steps=26, tolerance=NEVER)
    assert trained.evaluations.tolist() == [26, 26]
    for weight, start in zip(trained.params["weight"], initial(2).numpy(), strict=True):
        assert distance(weight, plain_descent(start, descent, 25, 0.3, momentum)) < 1e-12


def test_gradient_descent_lowers_the_loss_at_a_small_rate(learn):
    losses = torch.stack([learn(method="gd", rate=0.1, steps=steps, tolerance=NEVER).loss for steps in (1, 2, 11, 41, 121)])
    assert (losses.diff(dim=0) < 0).all()


@pytest.mark.parametrize("batch", [30, 100])
def test_one_batch_of_all_examples_is_gradient_descent(learn, batch):
    full = learn(method="gd", rate=0.3, momentum=0.5, steps=26, tolerance=NEVER)
    batched = learn(method="sgd", batch=batch, rate=0.3, momentum=0.5, steps=26, tolerance=NEVER)
    torch.testing.assert_close(batched.params["weight"], full.params["weight"], rtol=1e-10, atol=1e-12)


def test_an_epoch_of_tiny_steps_sees_every_example_once(learn, initial, descent):
    rate = 1e-7
    moved = learn(1, method="sgd", batch=10, rate=rate, steps=4, tolerance=NEVER).params["weight"] - initial(1)
    assert distance(moved[0] / rate, 3 * descent(initial(1)[0].numpy())) < 1e-5


def test_every_epoch_has_an_order_of_its_own(learn):
    at = [learn(1, method="sgd", batch=10, rate=1e-6, steps=steps, tolerance=NEVER).params["weight"] for steps in (1, 2, 4, 5, 7)]
    first, second = at[1] - at[0], at[3] - at[2]
    assert distance(first, second) > 0.01
    assert distance(at[2] - at[0], at[4] - at[2]) < 1e-4


def test_the_order_of_examples_comes_from_its_root_seed_alone(learn):
    first, again, other = (
        learn(method="sgd", batch=7, rate=1.0, steps=30, tolerance=NEVER, order=order).params["weight"] for order in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert distance(first, other) > 1e-4


@pytest.mark.parametrize("method", ["flow", "gd", "sgd"])
def test_a_seed_does_not_know_those_beside_it(sharp, learn, seeds, method):
    config = {"method": method, "rate": 3.0, "batch": 8, "precision": "float32"}
    together = learn(5, **config)
    distribution = Distribution(sharp.data, root=0)
    won = winner(view_logits(together, distribution))
    for seed in (0, 4):
        alone = learn(together.family.init(seeds(seed + 1, start=seed)), **config)
        assert distance(together.params["weight"][seed], alone.params["weight"][0]) < 1e-3
        assert (winner(view_logits(alone, distribution))[0] == won[seed]).all()
        assert int(alone.evaluations[0]) == int(together.evaluations[seed])


def test_growing_an_ensemble_keeps_its_first_networks(learn):
    small, large = learn(2), learn(6)
    assert distance(large.params["weight"][:2], small.params["weight"]) < 1e-9
    assert torch.equal(large.take(slice(0, 2)).outcome, small.outcome)


def test_the_start_is_left_as_it_was(learn, initial):
    weight = initial(2)
    learn({"weight": weight}, steps=30)
    learn({"weight": weight}, method="gd", steps=30)
    assert torch.equal(weight, initial(2))


def test_an_objective_in_blocks_is_the_objective(tiny):
    sharp_family = PatchNet(classes=3, dim=8, patches=5, width=40, q=3, rho=1.0, init=0.3)
    examples = Distribution(tiny.replace(**{"data.examples": 900}).data, root=0).train()
    params = {
        name: tensor.double() for name, tensor in sharp_family.init([torch.Generator().manual_seed(s) for s in range(3)]).items()
    }
    assert sharp_family.activations(900) > BLOCK_NUMBERS / 2
    objective = Objective(sharp_family, examples.inputs.double(), HardLoss(examples.labels))
    found = objective.at(params, torch.arange(3))
    logits, back = sharp_family.pullback(params, examples.inputs.double())
    value, residual, _ = HardLoss(examples.labels).evaluate(logits, torch.arange(3))
    torch.testing.assert_close(found.value, value)
    torch.testing.assert_close(found.gradient["weight"], back(residual)["weight"])
    assert found.right.tolist() == pytest.approx((logits.argmax(dim=-1) == examples.labels).double().mean(dim=1).tolist())


@pytest.fixture(scope="module")
def taught(learn, tiny_examples):
    """A trained network and soft labels from it."""
    teacher = learn(1)
    return teacher, SoftLoss(tiny_examples.labels, teacher.logits(tiny_examples.inputs.double()), 2.0, 1.0)


def test_a_student_equal_to_its_teacher_is_done_at_once(learn, taught):
    teacher, loss = taught
    student = learn(teacher.params, loss)
    assert student.outcomes["converged"] == 1
    assert student.evaluations.tolist() == [1]
    assert torch.equal(student.params["weight"], teacher.params["weight"])


@pytest.mark.parametrize("loudness", [0.2, 1.0])
def test_a_student_stops_at_the_fraction_of_a_blank_students_gap(learn, taught, tiny_examples, loudness):
    teacher, _ = taught
    loss = SoftLoss(tiny_examples.labels, loudness * teacher.logits(tiny_examples.inputs.double()), 2.0, 1.0)
    blank = loss.reference(3)
    students = learn(3, loss, tolerance=0.1)
    assert students.outcomes["converged"] == 3
    assert (students.gap <= 0.1 * blank).all()
    shorter = learn(3, loss, tolerance=0.1, steps=int(students.evaluations.min()) // 2)
    assert (shorter.gap > 0.1 * blank).all()


def test_progress_only_goes_on(sharp_family, tiny_examples, seeds):
    told: list[float] = []
    train(sharp_family, seeds(3), tiny_examples.inputs, HardLoss(tiny_examples.labels), Train(), progress=told.append)
    assert told == sorted(told)
    assert 0 <= told[0] < told[-1] <= 1
