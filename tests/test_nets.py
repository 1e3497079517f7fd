"""One conformance suite for every family of networks, against plain loops in float64."""

import math

import pytest
import torch
from torch import Tensor

from plain_nets import plain_logits
from viewrace.config import Train, settings
from viewrace.data import Distribution
from viewrace.nets import MLP, DeepLinear, Family, Params, PatchNet, make_family
from viewrace.nets.bottleneck import BottleneckMLP
from viewrace.streams import Stream, torch_generator
from viewrace.train import HardLoss, evaluate_logits, train
from viewrace.train.objective import BLOCK_NUMBERS

CLASSES, DIM, PATCHES, EXAMPLES = 3, 5, 4, 11
pytestmark = pytest.mark.usefixtures("kernel")


def patch_net(q: int) -> tuple[dict, str]:
    return {"net.family": "patch", "net.q": q, "net.width": 3, "net.rho": 0.7, "net.init": 1.5}, f"patch-q{q}"


def mlp(hidden: tuple[int, ...], q: int) -> tuple[dict, str]:
    chosen = {"net.family": "mlp", "net.q": q, "net.hidden": hidden, "net.rho": 0.5, "net.init": 1.0}
    return chosen, f"mlp-{len(hidden)}-q{q}"


def linear(*hidden: int) -> tuple[dict, str]:
    return {"net.family": "linear", "net.hidden": hidden, "net.init": 1.0}, f"linear-{len(hidden)}"


def bottleneck(hidden: tuple[int, ...], **kind: int) -> tuple[dict, str]:
    chosen = mlp(hidden, 3)[0] | {f"net.{name}": value for name, value in kind.items()}
    return chosen, "-".join(["bottleneck", str(len(hidden)), *kind])


CASES = [
    *(patch_net(q) for q in (1, 2, 3, 4)),
    *(mlp(hidden, q) for hidden in ((6,), (6, 7)) for q in (1, 3)),
    *(linear(*hidden) for hidden in ((), (6,), (6, 7))),
    *(bottleneck(hidden, **kind) for hidden in ((6,), (6, 7)) for kind in ({"rank": 2}, {"top_k": 2}, {"rank": 2, "top_k": 2})),
]
every_family = pytest.mark.parametrize("changes", [pytest.param(case, id=name) for case, name in CASES])
DATA = {
    "data.classes": CLASSES,
    "data.views": 1,
    "data.dim": DIM,
    "data.patches": PATCHES,
    "data.distractors": 1.0,
    "data.examples": EXAMPLES,
}


def build(changes: dict) -> Family:
    config = settings(DATA | changes)
    return make_family(config.net, config.data)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch_generator(5, Stream.INIT, seed) for seed in seeds]


def start(family: Family, *seeds: int) -> Params:
    """Initial weights in float64, with biases that are not zero and no two alike."""
    params = {name: tensor.double() for name, tensor in family.init(generators(*seeds)).items()}
    return {name: tensor + torch.linspace(0.1, 0.2, tensor.shape[-1]) * (tensor == 0) for name, tensor in params.items()}


def inputs(count: int = EXAMPLES, patches: int = PATCHES) -> Tensor:
    return torch.randn(count, patches, DIM, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def close(first: Params, second: Params, rtol: float) -> bool:
    return all(float((first[name] - second[name]).norm()) <= rtol * float(second[name].norm()) for name in second)


@every_family
def test_shapes(changes):
    family = build(changes)
    params = start(family, 0, 1)
    assert all(len(tensor) == 2 for tensor in params.values())
    assert family.logits(params, inputs()).shape == (2, EXAMPLES, CLASSES)
    logits, back = family.pullback(params, inputs())
    gradient = back(torch.ones_like(logits))
    assert {name: tensor.shape for name, tensor in gradient.items()} == {name: tensor.shape for name, tensor in params.items()}
    one = {name: tensor[0] for name, tensor in params.items()}
    assert family.apply(one, inputs()).shape == (EXAMPLES, CLASSES)


@every_family
def test_logits_are_those_of_the_definition(changes):
    family = build(changes)
    params = start(family, 0, 1, 2)
    expected = plain_logits(family, params, inputs())
    single = [family.apply({name: tensor[seed] for name, tensor in params.items()}, inputs()) for seed in range(3)]
    for logits in (family.logits(params, inputs()), family.pullback(params, inputs())[0], torch.stack(single)):
        torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12)


@every_family
def test_the_pullback_is_the_gradient_of_the_definition(changes):
    family = build(changes)
    params = start(family, 0, 1, 2)
    residual = torch.randn(3, EXAMPLES, CLASSES, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    free = {name: tensor.clone().requires_grad_() for name, tensor in params.items()}
    names = list(free)
    total = (plain_logits(family, free, inputs()) * residual).sum()
    expected = dict(zip(names, torch.autograd.grad(total, [free[name] for name in names]), strict=True))
    assert close(family.pullback(params, inputs())[1](residual), expected, rtol=1e-9)


@pytest.mark.parametrize("q", [1, 2, 3, 4])
def test_the_patch_nets_above_are_tried_on_every_part_of_the_activation(q):
    family = build(patch_net(q)[0])
    scaled = torch.einsum("skmd,npd->skmnp", start(family, 0, 1, 2)["weight"], inputs()) / family.rho
    for part in (scaled < 0, (scaled > 0) & (scaled < 1), scaled > 1):
        assert part.double().mean() > 0.1


@pytest.mark.parametrize("changes", [patch_net(4)[0], mlp((6, 7), 3)[0], linear(6, 7)[0]], ids=["patch", "mlp", "linear"])
def test_the_pullback_agrees_with_finite_differences(changes):
    family = build(changes)
    params = start(family, 0)
    residual = torch.randn(1, EXAMPLES, CLASSES, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    gradient = family.pullback(params, inputs())[1](residual)
    chance, step = torch.Generator().manual_seed(9), 1e-5
    for _ in range(5):
        way = {name: torch.randn(tensor.shape, generator=chance, dtype=torch.float64) for name, tensor in params.items()}
        ends = [
            (family.logits({name: params[name] + sign * step * way[name] for name in way}, inputs()) * residual).sum()
            for sign in (1, -1)
        ]
        along = sum((gradient[name] * way[name]).sum() for name in way)
        assert float(ends[0] - ends[1]) / (2 * step) == pytest.approx(float(along), rel=1e-6)


@every_family
def test_a_network_does_not_depend_on_those_beside_it(changes):
    family = build(changes)
    data = Distribution(settings(DATA | changes).data, root=0).train()
    loss, config = HardLoss(data.labels), Train(method="gd", rate=0.05, steps=16, tolerance=1e-9, precision="float64")
    together = train(family, generators(0, 1, 2, 3, 4), data.inputs, loss, config)
    for seed in (0, 3):
        alone = train(family, generators(seed), data.inputs, loss, config)
        assert close(together.take([seed]).params, alone.params, rtol=1e-6)
        crowd, single = together.logits(data.inputs.double())[[seed]], alone.logits(data.inputs.double())
        torch.testing.assert_close(crowd, single, rtol=1e-6, atol=1e-9)
    moved = {name: tensor.double() for name, tensor in family.init(generators(3)).items()}
    assert not close(together.take([3]).params, moved, rtol=1e-3)


@every_family
def test_float32_logits_do_not_depend_on_those_beside_them(changes):
    family = build(changes)
    params = family.init(generators(0, 1, 2, 3, 4))
    crowd = family.logits(params, inputs().float())
    for seed in range(5):
        alone = family.logits({name: tensor[seed : seed + 1] for name, tensor in params.items()}, inputs().float())
        torch.testing.assert_close(crowd[seed : seed + 1], alone, rtol=1e-6, atol=1e-6 * float(crowd.abs().max()))


@every_family
def test_one_seed_gives_one_network_and_two_give_two(changes):
    family = build(changes)
    first, second = family.init(generators(4, 4, 6)), family.init(generators(4))
    for name, tensor in first.items():
        assert torch.equal(tensor[0], tensor[1])
        assert torch.equal(tensor[:1], second[name])
        assert name.startswith("bias") or not torch.equal(tensor[0], tensor[2])
    once, again = family.logits(first, inputs().float()), family.logits(first, inputs().float())
    assert torch.equal(once, again)
    torch.testing.assert_close(once[0], once[1], rtol=1e-6, atol=1e-6 * float(once.abs().max()))


@every_family
def test_examples_do_not_see_one_another(changes):
    family = build(changes)
    params, order = start(family, 0, 1), torch.tensor([3, 0, 7])
    torch.testing.assert_close(
        family.logits(params, inputs())[:, order], family.logits(params, inputs()[order]), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("q", [1, 3])
def test_a_patch_net_does_not_see_the_order_of_patches_nor_empty_ones(q):
    family = build(patch_net(q)[0])
    params, given = start(family, 0, 1), inputs()
    expected = family.logits(params, given)
    torch.testing.assert_close(family.logits(params, given[:, [2, 0, 3, 1]]), expected, rtol=1e-12, atol=1e-12)
    padded = torch.cat([given, torch.zeros(EXAMPLES, 2, DIM, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(family.logits(params, padded), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rho", [0.5, 10.0])
def test_patch_weights_have_the_spread_asked_for_in_units_of_rho(rho):
    family = PatchNet(classes=4, dim=20, patches=1, width=10, q=3, rho=rho, init=0.3)
    weight = family.init(generators(0, 1))["weight"].double() / (0.3 * rho)
    assert abs(weight.mean()) < 5 / weight.numel() ** 0.5
    assert abs(weight.square().mean() - 1) < 5 * (2 / weight.numel()) ** 0.5


def test_mlp_weights_have_the_spread_of_he_times_init():
    family = MLP(classes=30, dim=20, patches=2, hidden=(50,), q=1, rho=1.0, init=0.5)
    params = family.init(generators(0, 1))
    for layer, fan_in in enumerate((40, 50)):
        weight = params[f"weight_{layer}"].double() / (0.5 * math.sqrt(2 / fan_in))
        assert abs(weight.mean()) < 5 / weight.numel() ** 0.5
        assert abs(weight.square().mean() - 1) < 5 * (2 / weight.numel()) ** 0.5
        assert (params[f"bias_{layer}"] == 0).all()


def test_a_first_layer_of_low_rank_has_the_rank_and_the_spread_of_the_full_one():
    for boosted, boost in ((0, 1.0), (4, 10.0)):
        shape = {"classes": 4, "dim": 40, "patches": 1, "hidden": (60,), "q": 1, "rho": 1.0, "init": 0.5}
        family = BottleneckMLP(**shape, boosted=boosted, boost=boost, rank=8)
        params = family.init(generators(*range(40)))
        product = params["weight_0"].double() @ params["squeeze_0"].double()
        assert (torch.linalg.matrix_rank(product) == 8).all()
        scaled = product[:, :, boosted:] / (0.5 * math.sqrt(2 / 40))
        assert abs(scaled.square().mean() - 1) < 5 * (2 / params["squeeze_0"][:, :, boosted:].numel()) ** 0.5
        ratio = product[:, :, :boosted].norm() / product[:, :, boosted : 2 * boosted].norm() if boosted else boost
        assert float(ratio) == pytest.approx(boost, rel=0.2)


@pytest.mark.parametrize("kind", [{}, {"net.rank": 3}, {"net.top_k": 3}], ids=["plain", "rank", "top_k"])
def test_a_boost_scales_the_input_weights_of_view_0s_slot_and_nothing_else(kind):
    base = DATA | mlp((6, 7), 1)[0] | kind
    base |= {"data.views": 2, "data.dim": 8, "data.slots": True, "data.layout": "flat", "data.distractors": 0.0}
    plain, lopsided = (settings(base | {"net.boost": boost}) for boost in (1.0, 10.0))
    before, after = (make_family(one.net, one.data).init(generators(0, 1)) for one in (plain, lopsided))
    first = "squeeze_0" if "net.rank" in kind else "weight_0"
    torch.testing.assert_close(after[first][:, :, :4], 10 * before[first][:, :, :4])
    assert torch.equal(after[first][:, :, 4:], before[first][:, :, 4:])
    assert all(torch.equal(after[name], before[name]) for name in before if name != first)


def test_ties_let_no_more_than_k_responses_through():
    family = BottleneckMLP(2, 3, 1, (5,), 1, 1.0, 1.0, top_k=2)
    params = {name: torch.ones_like(tensor[0]) for name, tensor in family.init(generators(0)).items()}
    params["bias_0"] *= 0
    torch.testing.assert_close(family.apply(params, torch.ones(1, 1, 3)), torch.full((1, 2), 2 * 3.0 + 1))


def test_deep_linear_weights_have_the_spread_that_keeps_the_size_of_a_vector_times_init():
    family = DeepLinear(classes=30, dim=20, patches=2, hidden=(50,), init=0.5)
    params = family.init(generators(0, 1))
    for layer, fan_in in enumerate((40, 50)):
        weight = params[f"weight_{layer}"].double() / (0.5 / math.sqrt(fan_in))
        assert abs(weight.mean()) < 5 / weight.numel() ** 0.5
        assert abs(weight.square().mean() - 1) < 5 * (2 / weight.numel()) ** 0.5


def test_a_student_may_have_a_width_and_init_of_its_own():
    config = settings(DATA | patch_net(3)[0])
    small, large = (make_family(config.net, config.data, width=7, init=init).init(generators(0))["weight"] for init in (0.2, 0.4))
    assert small.shape == (1, CLASSES, 7, DIM)
    torch.testing.assert_close(2 * small, large)
    config = settings(DATA | mlp((6, 7), 1)[0] | {"data.layout": "flat"})
    shapes = [tuple(tensor.shape) for tensor in make_family(config.net, config.data, width=2).init(generators(0)).values()]
    assert shapes == [(1, 6, DIM), (1, 6), (1, 6, 6), (1, 6), (1, CLASSES, 6), (1, CLASSES)]


def test_the_view_correlation_is_that_of_the_best_neuron():
    family = build(patch_net(3)[0])
    params = start(family, 0, 1)
    features = torch.randn(CLASSES, 2, DIM, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = family.view_correlation(params, features)
    for seed in range(2):
        for label in range(CLASSES):
            for view in range(2):
                each = [float(neuron @ features[label, view]) for neuron in params["weight"][seed, label]]
                assert float(found[seed, label, view]) == pytest.approx(max(each), rel=1e-12)


@pytest.mark.parametrize("changes", [patch_net(3)[0], mlp((60, 60), 3)[0], linear(300, 300)[0]], ids=["patch", "mlp", "linear"])
def test_blocks_of_seeds_and_examples_change_nothing(changes):
    family = build(changes | {"net.width": 40})
    given = inputs(count=1500)
    params = start(family, 0, 1, 2)
    assert family.activations(1500) * 3 > BLOCK_NUMBERS
    torch.testing.assert_close(evaluate_logits(family, params, given), family.logits(params, given), rtol=1e-12, atol=1e-12)
