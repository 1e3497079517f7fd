"""Every loss against its written definition under autograd in float64, and in the limits where it has a closed form."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from viewrace.config import settings
from viewrace.train import HardLoss, SoftLoss

SEEDS, EXAMPLES, CLASSES = 3, 7, 4
EVERYONE = torch.arange(SEEDS)
LABELS = torch.arange(EXAMPLES) % CLASSES


def normal(number: int, *shape: int, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(number), dtype=torch.float64)


LOGITS, TEACHER = normal(1, SEEDS, EXAMPLES, CLASSES), normal(2, SEEDS, EXAMPLES, CLASSES, scale=3.0)


def softmax(logits: Tensor) -> Tensor:
    return logits.exp() / logits.exp().sum(dim=-1, keepdim=True)


def cross_entropy(logits: Tensor, labels: Tensor = LABELS) -> Tensor:
    """(seed,) mean over examples."""
    return -softmax(logits)[:, torch.arange(len(labels)), labels].log().mean(dim=1)


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """(seed,) KL from the student's softmax to the teacher's, mean over examples."""
    target, own = softmax(teacher), softmax(student)
    return (target * (target.log() - own.log())).sum(dim=-1).mean(dim=1)


def hinton(logits: Tensor, teacher: Tensor, tau: float, alpha: float) -> Tensor:
    return (1 - alpha) * cross_entropy(logits) + alpha * tau**2 * divergence(teacher / tau, logits / tau)


def slope(function, logits: Tensor) -> Tensor:
    free = logits.clone().requires_grad_()
    return torch.autograd.grad(function(free).sum(), free)[0]


def agree(first: Tensor, second: Tensor) -> None:
    torch.testing.assert_close(first, second, rtol=1e-11, atol=1e-13)


def squared_error(logits: Tensor) -> Tensor:
    target = torch.eye(CLASSES, dtype=torch.float64)[LABELS]
    return ((logits - target) ** 2).sum(dim=-1).mean(dim=1) / 2


@pytest.mark.parametrize(("kind", "definition"), [("ce", cross_entropy), ("mse", squared_error)])
def test_a_hard_loss_is_its_definition_and_its_residual_the_derivative(kind, definition):
    found = HardLoss(LABELS, kind).evaluate(LOGITS, EVERYONE)
    agree(found.value, definition(LOGITS))
    agree(found.gap, found.value)
    agree(found.residual, slope(definition, LOGITS))


@pytest.mark.parametrize("tau", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shared", [False, True], ids=["own-teacher", "shared-teacher"])
def test_soft_labels_are_their_definition_and_their_residual_the_derivative(tau, alpha, shared):
    teacher = TEACHER[:1] if shared else TEACHER
    found = SoftLoss(LABELS, teacher, tau, alpha).evaluate(LOGITS, EVERYONE)
    agree(found.value, hinton(LOGITS, teacher, tau, alpha))
    agree(found.gap, tau**2 * divergence(teacher / tau, LOGITS / tau))
    agree(found.residual, slope(lambda logits: hinton(logits, teacher, tau, alpha), LOGITS))


@pytest.mark.parametrize("tau", [0.7, 1.5])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("cut", [None, 1.0, 3.0])
def test_the_two_sided_truncated_update_is_that_of_the_truncated_divergence(tau, alpha, cut):
    ceiling = tau**2 if cut is None else cut
    assert LOGITS.max() > ceiling > LOGITS.min()
    assert TEACHER.max() > ceiling > TEACHER.min()

    def soft(logits: Tensor) -> Tensor:
        return tau * divergence(TEACHER.clamp(max=ceiling) / tau, logits.clamp(max=ceiling) / tau)

    found = SoftLoss(LABELS, TEACHER, tau, alpha, kind="azl", truncation=cut, one_sided=False).evaluate(LOGITS, EVERYONE)
    agree(found.residual, slope(lambda logits: cross_entropy(logits) + alpha * soft(logits), LOGITS))


@pytest.mark.parametrize("one_sided", [False, True])
def test_the_truncated_gap_is_the_total_variation_distance(one_sided):
    loss = SoftLoss(LABELS, TEACHER, 1.5, 0.4, kind="azl", truncation=2.0, one_sided=one_sided)
    found = loss.evaluate(LOGITS, EVERYONE)
    target, own = (softmax(logits.clamp(max=2.0) / 1.5) for logits in (TEACHER, LOGITS))
    agree(found.gap, (target - own).abs().sum(dim=-1).mean(dim=1) / 2)
    agree(found.value, cross_entropy(LOGITS) + 0.4 * found.gap)


def test_the_one_sided_update_raises_what_lags_behind_and_leaves_the_rest():
    tau, cut = 1.5, 2.0
    soft = SoftLoss(LABELS, TEACHER, tau, 1.0, kind="azl", truncation=cut).evaluate(LOGITS, EVERYONE).residual
    update = (soft - HardLoss(LABELS).evaluate(LOGITS, EVERYONE).residual) * EXAMPLES
    ahead = softmax(LOGITS.clamp(max=cut) / tau) - softmax(TEACHER.clamp(max=cut) / tau)
    assert (ahead > 0).any()
    assert (ahead < 0).any()
    assert update.max() <= 1e-15
    assert (update[ahead >= 0].abs() <= 1e-15).all()
    torch.testing.assert_close(update[ahead < 0], ahead[ahead < 0], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("primed", [0.2, 0.5, 1.0])
def test_the_truncation_is_that_of_the_paper(primed):
    """A student with all logits 0 shows the soft label: its update is 1 / K less the label of the paper's section 4."""
    blank = torch.zeros_like(LOGITS)
    loss = SoftLoss(LABELS, TEACHER, 1 / primed, 1.0, kind="azl", one_sided=False)
    update = (loss.evaluate(blank, EVERYONE).residual - HardLoss(LABELS).evaluate(blank, EVERYONE).residual) * EXAMPLES
    agree(1 / CLASSES - update, softmax((primed**2 * TEACHER).clamp(max=1.0) / primed))


@pytest.mark.parametrize("kind", ["kd", "azl"])
@pytest.mark.parametrize("one_sided", [False, True])
def test_a_student_equal_to_its_teacher_is_left_alone(kind, one_sided):
    loss = SoftLoss(LABELS, TEACHER, 2.0, 1.0, kind=kind, truncation=2.0, one_sided=one_sided)
    found, hard = loss.evaluate(TEACHER, EVERYONE), HardLoss(LABELS).evaluate(TEACHER, EVERYONE)
    assert found.gap.abs().max() < 1e-15
    expected = torch.zeros_like(TEACHER) if kind == "kd" else hard.residual
    torch.testing.assert_close(found.residual, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("tau", [1.0, 4.0])
def test_soft_labels_of_no_weight_are_hard_labels_exactly(tau):
    hard = HardLoss(LABELS).evaluate(LOGITS, EVERYONE)
    for kind in ("kd", "azl"):
        soft = SoftLoss(LABELS, TEACHER, tau, 0.0, kind=kind).evaluate(LOGITS, EVERYONE)
        assert torch.equal(soft.value, hard.value)
        assert torch.equal(soft.residual, hard.residual)


logits = st.lists(st.floats(-8, 8), min_size=CLASSES, max_size=CLASSES)


@given(student=logits, teacher=logits, shift=st.floats(-20, 20), tau=st.floats(0.3, 10), alpha=st.floats(0, 1))
def test_a_shift_of_all_logits_changes_nothing(student, teacher, shift, tau, alpha):
    own, taught = (torch.tensor(row, dtype=torch.float64).view(1, 1, -1) for row in (student, teacher))
    label, only = torch.tensor([2]), torch.tensor([0])
    found = SoftLoss(label, taught, tau, alpha).evaluate(own, only)
    assert found.gap >= -1e-12
    assert found.residual.sum().abs() < 1e-13 * max(1.0, tau)
    for loss, at in ((SoftLoss(label, taught, tau, alpha), own + shift), (SoftLoss(label, taught + shift, tau, alpha), own)):
        shifted = loss.evaluate(at, only)
        torch.testing.assert_close(shifted.value, found.value, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(shifted.residual, found.residual, rtol=1e-9, atol=1e-9)
    hard = HardLoss(label)
    assert hard.evaluate(own, only).residual.sum().abs() < 1e-14
    torch.testing.assert_close(hard.evaluate(own + shift, only).value, hard.evaluate(own, only).value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["kd", "azl"])
def test_students_of_many_temperatures_are_as_many_losses(kind):
    temperatures, alphas = torch.tensor([0.5, 2.0, 4.0]), torch.tensor([1.0, 0.3, 0.0])
    order = torch.tensor([2, 0])
    for teacher in (TEACHER, TEACHER[:1]):
        both = SoftLoss(LABELS, teacher, temperatures, alphas, kind=kind)
        found, blank = both.evaluate(LOGITS[order], order), both.reference(SEEDS)
        for row, seed in enumerate(order.tolist()):
            mine = teacher[[seed % len(teacher)]]
            alone = SoftLoss(LABELS, mine, float(temperatures[seed]), float(alphas[seed]), kind=kind)
            expected = alone.evaluate(LOGITS[[seed]], torch.tensor([0]))
            agree(found.value[[row]], expected.value)
            agree(found.gap[[row]], expected.gap)
            agree(found.residual[[row]], expected.residual)
            agree(blank[[seed]], alone.reference(1))


@pytest.mark.parametrize(
    "build",
    [
        lambda rows: HardLoss(LABELS[rows]),
        lambda rows: HardLoss(LABELS[rows], "mse"),
        lambda rows: SoftLoss(LABELS[rows], TEACHER[:, rows], 2.0, 0.4),
        lambda rows: SoftLoss(LABELS[rows], TEACHER[:1, rows], 2.0, 0.4, kind="azl", truncation=1.0),
    ],
    ids=["ce", "mse", "kd", "azl"],
)
def test_a_mini_batch_is_the_loss_of_its_examples(build):
    rows = torch.tensor([5, 1, 2])
    part = build(torch.arange(EXAMPLES)).evaluate(LOGITS[:, rows], EVERYONE, rows)
    whole = build(rows).evaluate(LOGITS[:, rows], EVERYONE)
    for first, second in zip(part, whole, strict=True):
        agree(first, second)


@pytest.mark.parametrize(("kind", "truncation"), [("kd", None), ("azl", None), ("azl", 1.0)])
def test_the_reference_is_the_gap_of_a_blank_student(kind, truncation):
    loss = SoftLoss(LABELS, TEACHER, 2.0, 0.4, kind=kind, truncation=truncation)
    agree(loss.reference(SEEDS), loss.evaluate(torch.zeros_like(LOGITS), EVERYONE).gap)
    shared = SoftLoss(LABELS, TEACHER[:1], 2.0, 0.4, kind=kind, truncation=truncation)
    agree(shared.reference(SEEDS), shared.evaluate(torch.zeros_like(LOGITS), EVERYONE).gap)
    assert HardLoss(LABELS).reference(SEEDS).tolist() == [1.0] * SEEDS


def test_hot_soft_labels_are_half_the_squared_distance_of_centred_logits_over_the_classes():
    apart = LOGITS - TEACHER
    apart = apart - apart.mean(dim=-1, keepdim=True)
    limit = apart.square().sum(dim=-1).mean(dim=1) / (2 * CLASSES)
    errors = []
    for tau in (100.0, 1000.0):
        found = SoftLoss(LABELS, TEACHER, tau, 1.0).evaluate(LOGITS, EVERYONE)
        errors.append(float((found.value / limit - 1).abs().max()))
        torch.testing.assert_close(found.residual, apart / CLASSES / EXAMPLES, rtol=0, atol=1 / tau)
    assert errors[0] < 0.05
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.2)


@pytest.mark.parametrize("own_temperature", [None, torch.tensor([1.0, 2.0, 3.0])], ids=["of-settings", "own"])
def test_the_settings_name_the_loss(own_temperature):
    config = settings(
        {
            "distill.loss": "azl",
            "distill.temperature": 1.7,
            "distill.alpha": 0.6,
            "distill.truncation": 2.5,
            "distill.one_sided": False,
        }
    ).distill
    tau = 1.7 if own_temperature is None else own_temperature
    expected = SoftLoss(LABELS, TEACHER, tau, 0.6, kind="azl", truncation=2.5, one_sided=False).evaluate(LOGITS, EVERYONE)
    found = SoftLoss.from_config(config, LABELS, TEACHER, own_temperature).evaluate(LOGITS, EVERYONE)
    for first, second in zip(found, expected, strict=True):
        assert torch.equal(first, second)
