"""The kernels between the matrix products: against the definition, against each other, and where one cannot be had."""

import logging

import pytest
import torch
from torch import Tensor

from viewrace.nets import compiled, kernels
from viewrace.nets.activation import smoothed_relu
from viewrace.nets.kernels import KERNELS, find_kernel

LANES = 16
RHO = 0.7

needs_compiler = pytest.mark.skipif(compiled.library(torch.float64) is None, reason="there is no C compiler here")
every_kernel = pytest.mark.parametrize("kernel", ["eager", pytest.param("fused", marks=needs_compiler)])


@pytest.fixture
def fresh():
    """What is remembered of this machine is forgotten before and after."""
    remembered = (compiled.library, compiled._say, kernels._quicker)
    for function in remembered:
        function.cache_clear()
    yield
    for function in remembered:
        function.cache_clear()


def responses(examples: int, lines: int = 6, rows: int = 5, dtype=torch.float64) -> Tensor:
    """(row, line, place) on every part of the activation, 0 in the padding."""
    places = -(-examples // LANES) * LANES
    chance = torch.Generator().manual_seed(examples)
    scaled = torch.zeros(rows, lines, places, dtype=dtype)
    scaled[:, :, :examples] = torch.randn(rows, lines, examples, generator=chance, dtype=dtype)
    return scaled


def definition(scaled: Tensor, residual: Tensor, q: int) -> tuple[Tensor, Tensor]:
    """Logits, and the derivative of sum residual x logits by the responses z = rho x scaled, by autograd."""
    z = (RHO * scaled).requires_grad_()
    logits = smoothed_relu(z, q, RHO).sum(dim=1)[:, : residual.shape[1]]
    (slope,) = torch.autograd.grad((logits * residual).sum(), z)
    return logits.detach(), slope


@every_kernel
@pytest.mark.parametrize("q", range(1, compiled.MOST_Q + 1))
@pytest.mark.parametrize("examples", [1, 7, 16, 33, 300, 1030])
def test_a_kernel_is_the_definition_and_its_derivative(kernel, q, examples):
    agrees_with_the_definition(kernel, q, examples)


def agrees_with_the_definition(kernel: str, q: int, examples: int) -> None:
    scaled = responses(examples)
    residual = torch.randn(5, examples, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected, slope = definition(scaled, residual, q)
    logits, kept = KERNELS[kernel].respond(scaled.clone(), examples, q, RHO)
    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(KERNELS[kernel].weigh(kept, residual, q), slope, rtol=1e-12, atol=1e-13)


@needs_compiler
@pytest.mark.parametrize("lines", [1, 3, 4, 5, 9])
def test_float32_kernels_agree_for_any_number_of_lines(lines):
    scaled, residual = responses(300, lines, dtype=torch.float32), torch.rand(5, 300, generator=torch.Generator().manual_seed(1))
    found = []
    for kernel in KERNELS.values():
        logits, kept = kernel.respond(scaled.clone(), 300, 4, RHO)
        found.append((logits, kernel.weigh(kept, residual, 4)))
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


@every_kernel
@pytest.mark.parametrize("q", [1, 4])
def test_a_number_that_is_none_stays_one_and_in_its_row(kernel, q):
    scaled, residual = responses(20), torch.ones(5, 20, dtype=torch.float64)
    expected, _ = KERNELS[kernel].respond(scaled.clone(), 20, q, RHO)
    scaled[2] = torch.nan
    logits, kept = KERNELS[kernel].respond(scaled, 20, q, RHO)
    assert logits[2].isnan().all()
    others = [0, 1, 3, 4]
    torch.testing.assert_close(logits[others], expected[others])
    weighed = KERNELS[kernel].weigh(kept, residual, q)
    assert not weighed[others].isnan().any()


@every_kernel
def test_a_kernel_gives_the_same_bits_twice(kernel):
    first, again = (KERNELS[kernel].respond(responses(300), 300, 4, RHO)[0] for _ in range(2))
    assert torch.equal(first, again)


def test_where_there_is_no_compiler_the_plain_kernel_is_taken_and_it_is_said_once(fresh, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("VIEWRACE_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", "/nowhere/cc")
    with caplog.at_level(logging.WARNING, "viewrace"):
        assert [find_kernel(4, torch.zeros(1)).name for _ in range(3)] == ["eager"] * 3
    assert len(caplog.records) == 1
    assert "no fused kernel" in caplog.text


@needs_compiler
def test_a_damaged_library_is_compiled_anew(fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("VIEWRACE_CACHE", str(tmp_path))
    monkeypatch.setenv("VIEWRACE_KERNEL", "fused")
    (tmp_path / f"patch-double-{compiled.machine_key()}.so").write_bytes(b"no library")
    assert find_kernel(4, torch.zeros(1, dtype=torch.float64)).name == "fused"


def test_what_is_quicker_is_measured_once_and_read_back(fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("VIEWRACE_CACHE", str(tmp_path))
    measured = []
    monkeypatch.setattr(kernels, "_seconds", lambda kernel, dtype: measured.append(kernel.name) or float(kernel.name == "fused"))
    assert [kernels._quicker(torch.float32), kernels._quicker(torch.float32)] == ["eager", "eager"]
    kernels._quicker.cache_clear()
    assert kernels._quicker(torch.float32) == "eager"
    assert measured == ["eager", "fused"]


def test_a_kernel_that_does_not_exist_is_refused(refusal, monkeypatch):
    monkeypatch.setenv("VIEWRACE_KERNEL", "quick")
    assert refusal(find_kernel, 4, torch.zeros(1)) == (
        "VIEWRACE_KERNEL must be one of auto, eager, fused, received quick: choose one"
    )


def test_powers_without_an_entry_and_other_formats_go_the_plain_way(monkeypatch):
    monkeypatch.setenv("VIEWRACE_KERNEL", "fused")
    assert find_kernel(compiled.MOST_Q + 1, torch.zeros(1)).name == "eager"
    assert find_kernel(4, torch.zeros(1, dtype=torch.float16)).name == "eager"
