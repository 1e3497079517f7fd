"""Linearised networks and their kernel against finite differences, closed forms and each other; Gaussian data."""

import math

import pytest
import torch
from torch import nn

from viewrace.data.gaussian import Gaussian, GaussianConfig
from viewrace.data.images import ImageSet
from viewrace.nets.images import conv_net
from viewrace.nets.module import draw
from viewrace.nets.perceptron import Perceptron
from viewrace.nets.tangent import Linearised, jacobian, kernel_ridge, tangent_kernel
from viewrace.streams import Stream, torch_generator
from viewrace.train.members import MemberConfig, train_members

INPUTS, WIDTH, CLASSES, EXAMPLES = 5, 4, 3, 6


def net(member: int = 0, classes: int = CLASSES, frozen: bool = False, smooth: bool = False) -> nn.Module:
    """A small network in double precision; smooth ones have second derivatives."""

    def build() -> nn.Module:
        if smooth:
            return nn.Sequential(nn.Linear(INPUTS, WIDTH), nn.Tanh(), nn.Linear(WIDTH, classes))
        return Perceptron(INPUTS, WIDTH, classes, frozen)

    return draw(build, [torch_generator(0, Stream.INIT, member)])[0].double()


def shown(count: int = EXAMPLES, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, INPUTS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moved(module: Linearised, size: float, seed: int = 2) -> torch.Tensor:
    """Set w - w0 to random numbers; all of them, flattened."""
    draw_from = torch.Generator().manual_seed(seed)
    for part in module.moved:
        part.data = size * torch.randn(part.shape, generator=draw_from, dtype=torch.float64)
    return torch.cat([part.detach().flatten() for part in module.moved])


@pytest.mark.parametrize("member", [0, 1])
def test_the_jacobian_is_that_of_finite_differences(member):
    module, inputs, step = net(member, smooth=True), shown(3), 1e-5
    slopes, column = jacobian(module, inputs), 0
    for weight in module.parameters():
        flat = weight.data.view(-1)
        for index in range(len(flat)):
            ends = []
            for sign in (1, -1):
                flat[index] += sign * step
                ends.append(module(inputs).detach())
                flat[index] -= sign * step
            torch.testing.assert_close(slopes[..., column], (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-8)
            column += 1
    assert column == slopes.shape[2]


def test_the_kernel_is_the_mean_over_classes_of_inner_products_and_positive():
    module, inputs, others = net(), shown(), shown(4, seed=3)
    first, second = jacobian(module, inputs), jacobian(module, others)
    expected = torch.zeros(EXAMPLES, 4, dtype=torch.float64)
    for row in range(EXAMPLES):
        for column in range(4):
            expected[row, column] = (first[row] * second[column]).sum() / CLASSES
    torch.testing.assert_close(tangent_kernel(module, inputs, others), expected)
    own = tangent_kernel(module, inputs)
    torch.testing.assert_close(own, own.T)
    assert torch.linalg.eigvalsh(own).min() > -1e-12 * own.diagonal().max()


def test_the_kernel_of_random_features_is_the_product_of_the_features():
    module, inputs = net(frozen=True), shown()
    features = torch.relu(module.hidden(inputs))
    torch.testing.assert_close(tangent_kernel(module, inputs), features @ features.T + 1)


def test_the_kernel_of_a_wide_perceptron_is_the_arc_cosine_kernel():
    """Limit of the read-out's part: E[relu(u) relu(v)] (Cho & Saul 2009), u and v of the hidden weights' variance 2 / inputs."""
    width, inputs = 200_000, shown(2)
    module = draw(lambda: Perceptron(INPUTS, width, 2, frozen=True), [torch_generator(0, Stream.INIT, 0)])[0].double()
    module.hidden.bias.data.zero_()
    norms = inputs.norm(dim=1)
    angle = torch.arccos((inputs[0] @ inputs[1]) / norms.prod())
    law = 2 / INPUTS * norms.prod() * (torch.sin(angle) + (math.pi - angle) * torch.cos(angle)) / (2 * math.pi)
    found = (tangent_kernel(module, inputs)[0, 1] - 1) / width
    assert float(found) == pytest.approx(float(law), rel=0.02)


def test_a_linearised_network_is_its_start_plus_the_jacobian_times_the_way():
    module, inputs = net(), shown()
    start, slopes = module(inputs).detach(), jacobian(module, inputs)
    line = Linearised(module)
    torch.testing.assert_close(line(inputs), start)
    way = moved(line, 0.7)
    torch.testing.assert_close(line(inputs), start + slopes @ way)


def test_a_linearised_network_is_linear_and_touches_the_network_at_second_order():
    inputs, gaps = shown(), []
    for size in (1e-2, 1e-3):
        line = Linearised(net(smooth=True))
        moved(line, size)
        whole = net(smooth=True)
        for weight, step in zip(whole.parameters(), line.moved, strict=True):
            weight.data += step.data
        gaps.append(float((whole(inputs) - line(inputs)).detach().norm()))
    assert gaps[0] / gaps[1] == pytest.approx(100, rel=0.1)


def test_only_trained_weights_are_linearised_and_only_the_way_is_trained():
    line = Linearised(net(frozen=True))
    trained = {name: weight.shape for name, weight in line.named_parameters() if weight.requires_grad}
    assert list(trained.values()) == [(CLASSES, WIDTH), (CLASSES,)]


def test_kernel_ridge_is_ridge_regression_on_the_features():
    module, inputs, fresh, ridge = net(classes=2), shown(12), shown(5, seed=4), 0.1
    targets = torch.randn(12, 1, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    one = nn.Sequential(module, _First()).double()
    features, others = (jacobian(one, part)[:, 0] for part in (inputs, fresh))
    damping = ridge * tangent_kernel(one, inputs).diagonal().mean() * torch.eye(features.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(features.T @ features + damping, features.T @ targets)
    said = tangent_kernel(one, fresh, inputs) @ kernel_ridge(tangent_kernel(one, inputs), targets, ridge)
    torch.testing.assert_close(said, others @ weights)


class _First(nn.Module):
    """The first logit alone."""

    def forward(self, logits):
        return logits[:, :1]


def test_linearised_members_train_and_at_once_is_one_by_one():
    images = torch.rand(40, 1, 1, INPUTS, generator=torch.Generator().manual_seed(0))
    data = ImageSet(images, (images[:, 0, 0, 0] > images[:, 0, 0, 1]).long(), ("a", "b"))
    config = MemberConfig(epochs=30, batch=20, rate=0.05, weight_decay=0.0)

    def factory() -> nn.Module:
        return Linearised(Perceptron(INPUTS, WIDTH, 2))

    ways = [train_members(factory, data, config.replace(engine=engine), 3, 0) for engine in ("batched", "loop")]
    torch.testing.assert_close(*(way.logits(images) for way in ways), rtol=1e-3, atol=1e-4)
    assert (ways[0].trace.loss[-1] < 0.8 * ways[0].trace.loss[0]).all()
    for name, start in ways[0].buffers.items():
        assert name.startswith("net.")
        torch.testing.assert_close(start, ways[1].buffers[name])


def test_unfit_networks_and_ridges_are_refused(refusal):
    batch_norm = conv_net(1, (8, 8), 3)()
    assert "received one with some" in refusal(Linearised, batch_norm)
    assert "no weight that is trained" in refusal(jacobian, net().requires_grad_(False), shown())
    assert "the ridge must be above 0, received 0" in refusal(kernel_ridge, torch.eye(2), torch.ones(2, 1), 0.0)


@pytest.mark.parametrize("clusters", [0, 4])
def test_gaussian_data_have_the_moments_asked_for_and_the_teachers_labels(clusters):
    config = GaussianConfig(dim=6, classes=3, clusters=clusters, distance=3.0)
    data = Gaussian(config, root=0)
    inputs, labels = data.test(20_000)
    torch.testing.assert_close(inputs.mean(dim=0), data.centres.mean(dim=0), rtol=0, atol=0.05)
    spread = 6 + (9.0 if clusters else 0.0)
    assert float(inputs.square().sum(dim=1).mean()) == pytest.approx(spread, rel=0.02)
    response = torch.relu(inputs @ data.first)
    torch.testing.assert_close(response.mean(dim=0), data.mean, rtol=0, atol=0.05 * float(response.std()))
    torch.testing.assert_close(labels, ((response - data.mean) @ data.second).argmax(dim=1))
    assert torch.bincount(labels, minlength=3).min() > 0.05 * len(labels)


def test_gaussian_draws_do_not_shift_each_other():
    config = GaussianConfig()
    first, again = Gaussian(config, 3), Gaussian(config, 3)
    again.test(17)
    torch.testing.assert_close(first.train(50)[0], again.train(50)[0])
    assert not torch.equal(first.train(50)[0], first.test(50)[0])
    assert not torch.equal(first.train(50)[0], Gaussian(config, 4).train(50)[0])
    assert not torch.equal(first.first, Gaussian(config, 4).first)


def test_a_centred_teacher_favours_no_class_by_its_offset():
    """The mean logit of the random network, which would favour one class everywhere, is taken off."""
    offsets = []
    for centred in (True, False):
        data = Gaussian(GaussianConfig(centred=centred), root=1)
        response = (torch.relu(data.test(20_000)[0] @ data.first) - data.mean) @ data.second
        offsets.append(float(response.mean(dim=0).abs().max() / response.std()))
    assert offsets[0] < 0.05 < offsets[1]
