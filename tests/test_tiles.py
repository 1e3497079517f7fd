"""The kernels for CUDA devices: against autograd in float64, at sizes that no tile divides, in both formats of the products."""

import pytest
import torch

from viewrace.nets import PatchNet, tiles
from viewrace.nets.activation import smoothed_relu

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
RHO = 0.7


def measured(q, dim, seeds, neurons, patches, examples, precision):
    """Relative errors of logits and gradients of the engine on the device."""
    chance = torch.Generator().manual_seed(dim + q)
    weight = 3 * torch.randn(seeds, 4, neurons, dim, generator=chance)
    inputs = torch.randn(examples, patches, dim, generator=chance) / dim**0.5
    residual = torch.randn(seeds, examples, 4, generator=chance)
    exact = weight.double().requires_grad_()
    response = torch.einsum("skmd,npd->snkmp", exact, inputs.double())
    logits = smoothed_relu(response, q, RHO).sum(dim=(3, 4))
    (gradient,) = torch.autograd.grad((logits * residual).sum(), exact)
    family = PatchNet(4, dim, patches, neurons, q, RHO, 1.0)
    torch.set_float32_matmul_precision(precision)
    try:
        found, back = family.pullback({"weight": weight.cuda()}, family.prepare(inputs.cuda()))
        carried = back(residual.cuda())["weight"]
    finally:
        torch.set_float32_matmul_precision("highest")
    pairs = ((found.cpu(), logits.detach()), (carried.cpu(), gradient))
    return [float((one.double() - other).norm() / other.norm()) for one, other in pairs]


SHAPES = [(3, 3, 3, 37), (20, 4, 8, 600), (70, 1, 2, 65)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("q", "dim"), [(2, 10), (3, 32), (4, 120), (6, 64), (4, 200), (3, 512)])
def test_float32_products_are_float32_to_a_few_units(q, dim, shape):
    seeds, neurons, patches, examples = shape
    assert max(measured(q, dim, seeds, neurons, patches, examples, "highest")) < 5e-6


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("q", "dim"), [(1, 32), (4, 32), (4, 120), (4, 200)])
def test_short_products_are_good_to_their_eight_bits(q, dim, shape):
    seeds, neurons, patches, examples = shape
    found = measured(q, dim, seeds, neurons, patches, examples, "medium")
    assert 1e-5 < found[0] < 2e-2
    assert found[1] < 5e-2


def test_a_number_that_is_none_stays_in_its_network():
    family = PatchNet(3, 16, 2, 2, 4, RHO, 1.0)
    weight = torch.randn(4, 3, 2, 16, generator=torch.Generator().manual_seed(0)).cuda()
    weight[1] = torch.nan
    inputs = torch.randn(50, 2, 16, generator=torch.Generator().manual_seed(1)).cuda()
    logits, back = family.pullback({"weight": weight}, inputs)
    gradient = back(torch.ones_like(logits))["weight"]
    assert logits[1].isnan().all()
    for kept in (logits, gradient):
        assert kept[[0, 2, 3]].isfinite().all()


def test_the_same_numbers_give_the_same_bits_whatever_is_beside_them():
    family = PatchNet(3, 16, 2, 2, 4, RHO, 1.0)
    weight = torch.randn(300, 3, 2, 16, generator=torch.Generator().manual_seed(0)).cuda()
    inputs = torch.randn(500, 2, 16, generator=torch.Generator().manual_seed(1)).cuda()
    assert tiles.tiled(weight)
    whole, alone = (family.logits({"weight": part}, inputs) for part in (weight, weight[:5]))
    assert torch.equal(family.logits({"weight": weight}, inputs), whole)
    torch.testing.assert_close(alone, whole[:5], rtol=1e-5, atol=1e-6)
