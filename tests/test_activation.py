"""The activation by its published form: smooth, and its derivative the power then one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plain_nets import plain_activation
from viewrace.nets.activation import power, smoothed_relu, smoothed_relu_parts

pytestmark = pytest.mark.usefixtures("kernel")
powers, widths = st.integers(1, 6), st.floats(0.05, 20.0)


def value(z: float, q: int, rho: float) -> float:
    return float(smoothed_relu(torch.tensor([z], dtype=torch.float64), q, rho))


@given(z=st.floats(-30, 30), q=powers, rho=widths)
def test_the_activation_is_the_published_one(z, q, rho):
    expected = float(plain_activation(torch.tensor([z], dtype=torch.float64), q, rho))
    assert value(z, q, rho) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(q=st.integers(2, 6), rho=widths)
def test_the_activation_is_smooth_where_its_parts_meet(q, rho):
    assert value(0.0, q, rho) == 0
    assert value(rho, q, rho) == pytest.approx(rho / q, rel=1e-12)
    step = 1e-6 * rho
    for kink, slope in ((0.0, 0.0), (rho, 1.0)):
        left = (value(kink, q, rho) - value(kink - step, q, rho)) / step
        right = (value(kink + step, q, rho) - value(kink, q, rho)) / step
        assert left == pytest.approx(slope, abs=1e-4)
        assert right == pytest.approx(slope, abs=1e-4)


@given(u=st.one_of(st.floats(-3, -0.01), st.floats(0.01, 0.99), st.floats(1.01, 5)), q=powers, rho=widths)
def test_the_derivative_is_the_power_then_one(u, q, rho):
    z = torch.tensor([u * rho], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(smoothed_relu(z, q, rho).sum(), z)
    expected = 0.0 if u < 0 else 1.0 if u > 1 or q == 1 else u ** (q - 1)
    assert float(slope) == pytest.approx(expected, rel=1e-9)
    assert float(smoothed_relu_parts(z.detach() / rho, q)[1]) == pytest.approx(expected, rel=1e-9)


@given(scaled=st.lists(st.floats(-3, 5), min_size=1, max_size=8), q=powers, rho=widths)
def test_the_two_forms_of_the_activation_agree(scaled, q, rho):
    given = torch.tensor(scaled, dtype=torch.float64)
    parts = smoothed_relu_parts(given.clone(), q)[0] * rho
    torch.testing.assert_close(parts, smoothed_relu(given * rho, q, rho), rtol=1e-9, atol=1e-12 * rho)


@given(first=st.floats(-5, 5), second=st.floats(-5, 5), q=powers, rho=widths)
def test_the_activation_never_falls_nor_exceeds_plain_relu(first, second, q, rho):
    low, high = sorted((first, second))
    assert value(low, q, rho) <= value(high, q, rho) + 1e-12
    assert 0 <= value(high, q, rho) <= max(high, 0.0) + 1e-12


@given(base=st.floats(-2, 2), exponent=st.integers(1, 9))
def test_a_power_is_the_power(base, exponent):
    assert float(power(torch.tensor(base, dtype=torch.float64), exponent)) == pytest.approx(base**exponent, rel=1e-12)
