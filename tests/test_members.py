"""Members: each is what a plain loop of torch would have trained alone, whatever is trained beside it and however."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from helpers import generators, linear
from viewrace.data.augment import augmented
from viewrace.data.images import ImageSet
from viewrace.nets.images import IMAGE_NETS, conv_net, image_net
from viewrace.nets.module import ModuleNet, draw, stack
from viewrace.streams import Stream, torch_generator
from viewrace.train.members import MemberConfig, Members, train_members
from viewrace.train.members.batches import Batches
from viewrace.train.members.descent import rate_at
from viewrace.train.members.steps import Rule, gradients

CONV = conv_net(1, 8, 10, width=4)
CONFIG = MemberConfig(epochs=2, batch=40, rate=0.1)


class Different(nn.Module):
    """Says something else where members are taken all at once."""

    def __init__(self):
        super().__init__()
        self.net = linear()

    def forward(self, images):
        return self.net(images) * (2 if torch._C._functorch.is_batchedtensor(images) else 1)


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.drop = linear(), nn.Dropout(0.3)

    def forward(self, images):
        return self.net(self.drop(images))


def alone(factory, data: ImageSet, config: MemberConfig, member: int) -> nn.Module:
    """One member trained by torch.optim in a plain loop."""
    module = draw(factory, generators(1, member))[0].train()
    kinds = {
        "sgd": lambda weights: torch.optim.SGD(
            weights, config.rate, config.momentum, weight_decay=config.weight_decay, nesterov=config.nesterov
        ),
        "adamw": lambda weights: torch.optim.AdamW(
            weights, config.rate, betas=(config.momentum, 0.999), weight_decay=config.weight_decay
        ),
    }
    optimizer = kinds[config.optimizer](module.parameters())
    mean, deviation = data.images.mean(dim=(0, 2, 3)), data.images.transpose(0, 1).flatten(1).std(dim=1, correction=0)
    batches = math.ceil(len(data) / config.batch)
    for epoch in range(config.epochs):
        order = torch.randperm(len(data), generator=torch_generator(0, Stream.ORDER, member, epoch))
        shifts = torch_generator(0, Stream.AUGMENT, member, epoch)
        for step, rows in enumerate(order.tensor_split(batches)):
            for group in optimizer.param_groups:
                group["lr"] = rate_at(config, epoch * batches + step, config.epochs * batches)
            seen = augmented(data.images[rows], config.augment, shifts)
            said = module((seen - mean[:, None, None]) / deviation[:, None, None])
            loss = nn.functional.cross_entropy(said, data.labels[rows], label_smoothing=config.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return module


def agree(members: Members, other: Members, tolerance: float = 2e-4) -> None:
    """Weights and running statistics are the same up to rounding that a few steps have let grow."""
    for mine, its in ((members.weights, other.weights), (members.buffers, other.buffers)):
        for name, tensor in mine.items():
            torch.testing.assert_close(tensor, its[name], rtol=tolerance, atol=tolerance)


def same(members: Members, other: Members) -> bool:
    """Everything is the same to the bit."""
    pairs = [(members.weights[name], other.weights[name]) for name in members.weights]
    pairs += [(members.buffers[name], other.buffers[name]) for name in members.buffers]
    pairs += [(members.trace.loss, other.trace.loss), (members.trace.right, other.trace.right)]
    return all(torch.equal(one, two) for one, two in pairs)


SETTINGS = {
    "sgd": {},
    "plain-momentum": {"nesterov": False, "schedule": "one-cycle", "label_smoothing": 0.1},
    "adamw": {"optimizer": "adamw", "rate": 0.01, "weight_decay": 0.1, "schedule": "constant"},
    "augmented": {"augment": {"shift": 1, "flip": True}},
}


@pytest.mark.parametrize("engine", ["batched", "loop"])
@pytest.mark.parametrize("change", SETTINGS)
def test_a_member_is_what_torch_trains_alone(digits, engine, change):
    config = CONFIG.replace(engine=engine, **SETTINGS[change])
    members = train_members(CONV, digits, config, 3, 0)
    for index in range(3):
        module = alone(CONV, digits, config, index)
        own = dict(module.named_parameters()) | dict(module.named_buffers())
        for name, tensor in {**members.weights, **members.buffers}.items():
            torch.testing.assert_close(tensor[index], own[name].detach(), rtol=2e-4, atol=2e-4)
        inputs = (digits.images - members.mean[:, None, None]) / members.deviation[:, None, None]
        torch.testing.assert_close(members.logits(digits.images)[index], module.eval()(inputs).detach(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("joint", [False, True], ids=["each", "joint"])
@pytest.mark.parametrize("name", IMAGE_NETS)
def test_a_step_of_all_at_once_is_that_of_one_by_one(digits, name, joint):
    modules = [module.double() for module in draw(image_net(name, digits.shape, 10), generators(3))]
    seen = next(Batches(digits.take(slice(0, 12)), CONFIG, 0, range(3), None, together=joint).epoch(0))
    batch = dataclasses.replace(seen, inputs=seen.inputs.double())
    one, two = (gradients(ModuleNet(modules[0]), *stack(modules), batch, Rule(joint=joint), batched) for batched in (True, False))
    for first, second in zip((one.gradient, one.buffers), (two.gradient, two.buffers), strict=True):
        for key, tensor in first.items():
            torch.testing.assert_close(tensor, second[key], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(one.loss, two.loss)
    assert torch.equal(one.right, two.right)


def test_a_network_that_is_another_all_at_once_is_taken_one_by_one(digits, monkeypatch):
    clock = iter(float(second) ** 2 for second in range(100))
    monkeypatch.setattr("viewrace.train.members.engine.time.perf_counter", lambda: next(clock))
    assert train_members(linear, digits, CONFIG.replace(epochs=1), 2, 0).batched
    assert not train_members(Different, digits, CONFIG.replace(epochs=1), 2, 0).batched


def test_many_members_are_taken_in_blocks(digits):
    config = CONFIG.replace(epochs=1, engine="batched")
    many = train_members(linear, digits, config, 20, 0)
    last = train_members(linear, digits, config, 5, 0, start=15)
    agree(many.take(slice(15, 20)), last, 1e-6)
    torch.testing.assert_close(many.logits(digits.images, block=50)[15:], last.logits(digits.images), rtol=0, atol=1e-4)


@pytest.mark.parametrize("engine", ["batched", "loop"])
def test_growing_keeps_the_first_members(digits, engine):
    config = CONFIG.replace(engine=engine, augment={"shift": 1})
    large = train_members(CONV, digits, config, 5, 0)
    small, rest = train_members(CONV, digits, config, 2, 0), train_members(CONV, digits, config, 3, 0, start=2)
    agree(large.take([0, 1]), small)
    agree(large, small.joined(rest))
    assert len(small.joined(rest)) == 5
    torch.testing.assert_close(large.trace.loss, small.joined(rest).trace.loss, rtol=1e-4, atol=1e-4)


def test_members_have_their_own_order_and_augmentation(digits):
    config = CONFIG.replace(augment={"shift": 1})
    own, same = (
        [batch for epoch in range(2) for batch in Batches(digits, choice, 0, range(2, 4), None).epoch(epoch)]
        for choice in (config, config.replace(same_order=True))
    )
    first = [batch for epoch in range(2) for batch in Batches(digits, CONFIG, 0, range(1), None).epoch(epoch)]
    assert not any(torch.equal(*batch.labels) for batch in own)
    assert all(torch.equal(*batch.labels) and not torch.equal(*batch.inputs) for batch in same)
    assert all(torch.equal(batch.labels[0], leading.labels[0]) for batch, leading in zip(same, first, strict=True))
    for epoch in (own[:3], own[3:]):
        assert torch.cat([batch.labels for batch in epoch], dim=1).sort().values[0].equal(digits.labels.sort().values)


def test_members_that_would_be_one_network_are_refused(digits, refusal):
    def zero():
        net = linear()
        nn.init.zeros_(net[1].weight)
        nn.init.zeros_(net[1].bias)
        return net

    for change in ({"config": CONFIG.replace(same_order=True)}, {"config": CONFIG, "joint": True}):
        assert "must differ in their init" in refusal(train_members, zero, digits, count=2, root=0, **change)


def test_randomness_in_a_module_is_the_members_own(digits, refusal):
    config = CONFIG.replace(epochs=1)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    three = train_members(Dropping, digits, config, 3, 0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert not three.batched
    assert same(three.take([1, 2]), train_members(Dropping, digits, config, 2, 0, start=1))
    plain = train_members(linear, digits, config.replace(engine="loop"), 3, 0)
    assert not torch.equal(three.weights["net.1.weight"], plain.weights["1.weight"])
    words = refusal(train_members, Dropping, digits, config.replace(engine="batched"), 2, 0)
    assert "cannot be trained all at once" in words
    assert "set engine=loop" in words


def test_each_member_and_step_has_a_seed_of_its_own_for_randomness(digits):
    batches = [batch for epoch in range(2) for batch in Batches(digits, CONFIG, 0, range(2), None).epoch(epoch)]
    seeds = [seed for batch in batches for seed in batch.seeds]
    assert len(set(seeds)) == len(seeds) == 12
    twins = stack(draw(Dropping, generators(1)) * 2)
    net, inputs = ModuleNet(Dropping()), digits.images[:4]
    one, other = (
        net.respond(*twins, inputs, training=True, batched=False, seeds=chosen)[0] for chosen in (seeds[:2], [seeds[0], seeds[0]])
    )
    assert torch.equal(one[0], other[0])
    assert torch.equal(other[0], other[1])
    assert not torch.equal(one[0], one[1])


def test_a_network_that_draws_from_elsewhere_is_refused(digits, refusal):
    class Elsewhere(Dropping):
        def forward(self, images):
            return self.net(images * float(np.random.rand()))  # noqa: NPY002 (what a network must not do)

    assert "must give the same loss twice under one seed" in refusal(train_members, Elsewhere, digits, CONFIG, 2, 0)


def test_schedules_rise_and_fall_as_they_say():
    def rates(schedule: str, warmup: float) -> list[float]:
        return [rate_at(CONFIG.replace(rate=1, schedule=schedule, warmup=warmup), step, 10) for step in range(10)]

    assert rates("constant", 0.0) == [1.0] * 10
    assert rates("constant", 0.4)[:5] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert rates("one-cycle", 0.5) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 0.8, 0.6, 0.4, 0.2])
    assert rates("cosine", 0.0) == pytest.approx([(1 + math.cos(math.pi * step / 10)) / 2 for step in range(10)])


def test_a_member_that_diverges_is_named(digits, refusal):
    wild = train_members(CONV, digits, CONFIG.replace(rate=1e30, schedule="constant", epochs=1), 2, 0)
    assert wild.diverged.all()
    assert wild.accuracy(digits).isnan().all()
    assert "received 2 that diverged" in refusal(train_members, CONV, digits, CONFIG, 1, 0, teacher=wild)


def test_members_refuse_images_of_another_kind(digits, refusal):
    members = train_members(linear, digits, CONFIG.replace(epochs=1), 1, 0)
    assert "images (example, 1, height, width), received shape (2, 3, 8, 8)" in refusal(members.logits, torch.zeros(2, 3, 8, 8))


def test_a_member_that_is_not_finite_leaves_the_others_alone(digits):
    modules = draw(CONV, generators(3))
    batch = next(Batches(digits, CONFIG, 0, range(3), None).epoch(0))
    weights, buffers = stack(modules)
    healthy = gradients(ModuleNet(modules[0]), weights, buffers, batch, Rule(), True)
    weights["head.bias"][1] = torch.nan
    ill = gradients(ModuleNet(modules[0]), weights, buffers, batch, Rule(), True)
    assert ill.loss.isnan().tolist() == [False, True, False]
    for name, tensor in healthy.gradient.items():
        assert torch.equal(tensor[[0, 2]], ill.gradient[name][[0, 2]])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": 0}, "count must be 1 or more"),
        ({"start": -1}, "start 0 or more"),
        ({"alpha": 1.5}, "alpha must lie in [0, 1]"),
        ({"temperature": 0.0}, "temperature be above 0"),
        ({"config": CONFIG.replace(device="abacus")}, "received 'abacus': set device=cpu"),
        ({"teacher": torch.zeros(3, 10)}, "of shape (120, 10) or (2, 120, 10), received (3, 10)"),
        ({"teacher": torch.full((120, 10), torch.nan)}, "some not finite"),
        ({"factory": lambda: nn.Flatten()}, "logits of shape (2, 10)"),
    ],
)
def test_what_cannot_be_trained_is_refused(digits, refusal, change, words):
    assert words in refusal(
        train_members, **({"factory": linear, "data": digits, "config": CONFIG, "count": 2, "root": 0} | change)
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 0}, "epochs should be greater than or equal to 1, received 0"),
        ({"epoch": 1}, "unknown option epoch: the known ones are epochs"),
        ({"schedule": "step"}, "received 'step'"),
        ({"augment": {"shift": -1}}, "shift should be greater than or equal to 0"),
        ({"rate": math.nan}, "rate should be a finite number"),
    ],
)
def test_bad_settings_are_refused(refusal, change, words):
    assert words in refusal(MemberConfig, **change)
