"""Soft labels and the joint control: what a teacher says is learned, by the formula, and nothing moves where nothing is left."""

import pytest
import torch
from torch import nn

from helpers import generators, linear
from viewrace.data.images import ImageSet, load_images
from viewrace.nets.images import conv_net
from viewrace.nets.module import ModuleNet, draw, stack
from viewrace.streams import Stream, torch_generator
from viewrace.train import SoftLoss
from viewrace.train.members import MemberConfig, Members, train_members
from viewrace.train.members.batches import Batches
from viewrace.train.members.steps import Rule, gradients

CONFIG = MemberConfig(epochs=1, batch=40, weight_decay=0.0)


class Average(nn.Module):
    """The mean of two networks as one network, drawn as members 0 and 1 are."""

    def __init__(self):
        super().__init__()
        self.nets = nn.ModuleList(draw(linear, generators(2)))

    def forward(self, images):
        return (self.nets[0](images) + self.nets[1](images)) / 2


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("tau", [1.0, 4.0])
@pytest.mark.parametrize("each", [False, True], ids=["one-teacher", "a-teacher-each"])
def test_soft_labels_follow_the_closed_form(digits, alpha, tau, each):
    """The gradient is the residual of `SoftLoss`, derived and tested elsewhere, carried back through a linear network."""
    modules = draw(linear, generators(2))
    teacher = 3 * torch.randn(2, 120, 10, generator=torch.Generator().manual_seed(0))
    teacher = teacher if each else teacher[0]
    batches = Batches(digits, CONFIG.replace(same_order=True), 0, range(2), teacher)
    batch = next(batches.epoch(0))
    step = gradients(ModuleNet(modules[0]), *stack(modules), batch, Rule(alpha, tau), True)
    order = torch.randperm(120, generator=torch_generator(0, Stream.ORDER, 0, 0))[:40]
    loss = SoftLoss(digits.labels[order], (teacher if each else teacher[None])[:, order], tau, alpha)
    logits = torch.stack([module(batch.inputs[0]) for module in modules]).detach()
    expected = loss.evaluate(logits, torch.arange(2))
    torch.testing.assert_close(step.loss, expected.value)
    torch.testing.assert_close(step.gradient["1.bias"], expected.residual.sum(dim=1), rtol=1e-4, atol=1e-6)
    inputs = batch.inputs[0].flatten(1)
    torch.testing.assert_close(
        step.gradient["1.weight"], torch.einsum("mec,ed->mcd", expected.residual, inputs), rtol=1e-4, atol=1e-5
    )


def untrained(digits: ImageSet, count: int) -> Members:
    """Members 0 to `count` as they are drawn: trained at a rate too small to move a weight."""
    return train_members(linear, digits, CONFIG.replace(rate=1e-30), count, 0)


def test_a_student_that_knows_all_its_teacher_knows_stays(digits):
    teacher = untrained(digits, 1)
    augmented = CONFIG.replace(augment={"shift": 2})
    for config, said in ((CONFIG, teacher), (CONFIG, teacher.logits(digits.images)[0]), (augmented, teacher)):
        student = train_members(linear, digits, config, 1, 0, teacher=said, alpha=1.0)
        torch.testing.assert_close(student.weights["1.weight"], teacher.weights["1.weight"], rtol=0, atol=1e-5)
    fixed = train_members(linear, digits, augmented, 1, 0, teacher=teacher.logits(digits.images)[0], alpha=1.0)
    assert (fixed.weights["1.weight"] - teacher.weights["1.weight"]).abs().max() > 1e-2


def test_without_weight_a_teacher_is_not_heard(digits):
    teacher = torch.randn(120, 10)
    one, two = (train_members(linear, digits, CONFIG, 2, 0, teacher=said, alpha=0.0) for said in (None, teacher))
    assert torch.equal(one.weights["1.weight"], two.weights["1.weight"])


def test_a_teacher_of_many_says_the_average_of_their_logits(digits):
    teacher = untrained(digits, 3)
    one, two = (
        train_members(linear, digits, CONFIG, 2, 0, teacher=said) for said in (teacher, teacher.logits(digits.images).mean(dim=0))
    )
    assert torch.equal(one.weights["1.weight"], two.weights["1.weight"])


def test_a_teacher_of_other_classes_is_refused(digits, refusal):
    other = ImageSet(digits.images, digits.labels, tuple("abcdefghij"))
    teacher = train_members(linear, other, CONFIG, 1, 0)
    assert "must know the classes of the images" in refusal(train_members, linear, digits, CONFIG, 1, 0, teacher=teacher)


@pytest.mark.parametrize("engine", ["batched", "loop"])
@pytest.mark.parametrize("teacher", [False, True], ids=["hard", "soft"])
def test_joint_training_trains_the_average_as_one_network(digits, engine, teacher):
    said = 3 * torch.randn(120, 10, generator=torch.Generator().manual_seed(1)) if teacher else None
    config = CONFIG.replace(engine=engine, augment={"shift": 1})
    joint = train_members(linear, digits, config, 2, 0, joint=True, teacher=said)
    one = train_members(Average, digits, config, 1, 0, teacher=said)
    for index in range(2):
        torch.testing.assert_close(joint.weights["1.weight"][index], one.weights[f"nets.{index}.1.weight"][0], rtol=0, atol=1e-5)
    torch.testing.assert_close(joint.logits(digits.images).mean(dim=0), one.logits(digits.images)[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(joint.trace.loss, one.trace.loss.expand(-1, 2), rtol=0, atol=1e-5)


def test_members_learn_the_digits_and_their_average_is_no_worse():
    train, test = load_images("digits", "train"), load_images("digits", "test")
    members = train_members(conv_net(1, 8, 10), train, MemberConfig(epochs=2, batch=64), 3, 0)
    accuracy = members.accuracy(test)
    ensemble = (members.logits(test.images).mean(dim=0).argmax(dim=1) == test.labels).float().mean()
    assert accuracy.min() > 0.8
    assert ensemble >= accuracy.mean()
