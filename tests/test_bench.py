"""The benchmark compares like with like, and reads its own numbers right."""

import time

import pytest
import torch

from viewrace.report.bench import bench_figure, growth, median_ratio
from viewrace.screen_bench import bench_table, others_table
from viewrace.study import benchmark as bench
from viewrace.study.peers import Size, convolution_ways, mlp_ways, patch_ways

SMALL = Size(seeds=3, neurons=20, dim=12, columns=80)


def gradients(found) -> torch.Tensor:
    """(seed, number): what a way gives, whatever its form."""
    if hasattr(found, "gradient"):
        found = found.gradient
    if isinstance(found, dict):
        found = list(found.values())
    elif isinstance(found, list) and isinstance(found[0], tuple):
        found = [torch.stack(each) for each in zip(*found, strict=True)]
    elif isinstance(found, list):
        found = [torch.from_numpy(part.__array__().copy()) for part in found]
    return torch.cat([each.flatten(1) for each in found], dim=1)


@pytest.mark.parametrize(
    "ways",
    [lambda: patch_ways(SMALL, compiled=False, jax=True), lambda: mlp_ways(3, 50, 12, 8), lambda: convolution_ways(3, 10, 4, 8)],
    ids=["patch", "mlp", "convolution"],
)
def test_all_ways_give_the_same_gradients(ways):
    made = ways()
    expected = gradients(made["loop"]())
    assert expected.abs().max() > 0
    for way in made.values():
        torch.testing.assert_close(gradients(way()), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_growth_is_the_exponent_of_a_power_law():
    points = [
        {"seeds": n, "axes": ["seeds"], "seconds": {"viewrace": [2e-3 * n**1.5] * 3}, "memory": 100 * n} for n in (1, 16, 256)
    ]
    time, memory = growth({"points": points}, "seeds")
    assert time == pytest.approx(1.5)
    assert memory == pytest.approx(1.0)


def test_ratios_are_taken_turn_by_turn():
    assert median_ratio([2.0, 9.0, 8.0], [1.0, 3.0, 8.0]) == (2.0, 1.0, 3.0)


@pytest.fixture(scope="module")
def found():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "BASE", {"cpu": SMALL})
        patch.setattr(bench, "SHORT", {"seeds": (1, 3), "neurons": (20,), "dim": (6, 12), "columns": (80, 160)})
        patch.setattr(bench, "SQUARE", {"cpu": 64})
        return bench.benchmark(turns=2, short=True, compiled=False, jax=False)


def test_every_way_takes_every_turn_at_every_size(found):
    assert [(point["seeds"], point["dim"], point["columns"]) for point in found["points"]] == [
        (3, 12, 80),
        (1, 12, 80),
        (3, 6, 80),
        (3, 12, 160),
    ]
    for point in found["points"]:
        assert set(point["seconds"]) == {"viewrace", "loop", "vmap", "limit"}
        assert all(len(seconds) == 2 for seconds in point["seconds"].values())
        assert point["flops"] == 4 * point["seeds"] * 20 * point["dim"] * point["columns"]


def test_the_tables_and_the_figure_show_what_was_measured(found):
    assert bench_table(found).row_count == 4
    assert others_table(found).row_count == 6
    assert len(bench_figure(found).axes) == 8


def test_a_way_that_fails_is_left_out_and_named(caplog):
    def broken():
        raise RuntimeError("no such kernel")

    assert bench._turns({"broken": broken, "whole": lambda: None}, 2).keys() == {"whole"}
    assert "broken is left out: no such kernel" in caplog.text


def test_seconds_are_those_of_the_way_alone():
    assert 0.02 <= bench._seconds(lambda: time.sleep(0.02), torch.device("cpu")) < 1


def test_no_turns_are_refused(refusal):
    assert refusal(bench.benchmark, 0).startswith("turns must be at least 1, received 0")
