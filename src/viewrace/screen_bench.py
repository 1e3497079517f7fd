"""What the terminal shows of the benchmark."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import Progress
from rich.table import Column, Table
from rich.text import Text

from viewrace import study
from viewrace.config import Train
from viewrace.report.bench import AXIS_NAMES, LIMIT, OURS, bench_figure, growth, median_ratio
from viewrace.report.phase import save_figures
from viewrace.study.benchmark import benchmark

__all__ = ["bench_parts", "bench_table", "others_table", "run_bench"]


def run_bench(console: Console, turns: int, short: bool, out: Path, config: Train) -> None:
    """Run the benchmark, print its tables, write bench.json and its figure to `out`."""
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("engine, peers and limit by turns", total=1.0)
        found = benchmark(turns, short, progress=lambda fraction: bar.update(task, completed=fraction), config=config)
    study.write_json(out / "bench.json", found)
    figure = bench_figure(found)
    save_figures({"bench": figure}, out)
    for part in bench_parts(found):
        console.print(part)
    console.print(f"figure and data: {out}", highlight=False, soft_wrap=True)


def bench_parts(found: dict[str, Any]) -> list[RenderableType]:
    """Where it ran, the tables, and how time and memory grow with each size; from the JSON of a benchmark."""
    threads = f"{found['threads']} thread{'' if found['threads'] == 1 else 's'}"
    where = threads if found["device"] == "processor" else found["device"]
    head = Text(f"{where}, {found['kernel']} kernel, torch {found['environment']['torch']}, {found['precision']}")
    growths = {name: growth(found, axis) for axis, name in AXIS_NAMES.items()}
    lines = [
        Text(f"growth with {name}: time^{time:.2f}, memory^{memory:.2f}")
        for name, (time, memory) in growths.items()
        if not math.isnan(time)  # one size alone
    ]
    return [head, bench_table(found), others_table(found), *lines]


def bench_table(found: dict[str, Any]) -> Table:
    """One row a size: useful FLOP/s, fraction of the limit, ratio to each peer, memory."""
    peers = sorted({way for point in found["points"] for way in point["seconds"]} - {OURS, LIMIT})
    heads = ["GFLOP/s", "of limit", *(f"{peer} / ours" for peer in peers), "MiB"]
    folded = (Column(head, overflow="fold") for head in heads)
    table = Table(Column("seeds, K m, d, N P", no_wrap=True), *folded, box=None, header_style="dim")
    for point in found["points"]:
        seconds = point["seconds"]
        ours = seconds[OURS]
        rate = point["flops"] / sorted(ours)[len(ours) // 2] / 1e9
        size = ", ".join(str(point[name]) for name in AXIS_NAMES)
        memory = "" if point["memory"] is None else f"{point['memory'] / 2**20:.0f}"
        ratios = (_spread(seconds.get(peer), ours) for peer in (LIMIT, *peers))
        table.add_row(size, f"{rate:.0f}", *ratios, memory)
    square = sorted(found["square"])
    rate, low, high = (at / 1e9 for at in (square[len(square) // 2], square[0], square[-1]))
    product = f"a product of {found['side']} x {found['side']}: {rate:.0f} [{low:.0f}, {high:.0f}] GFLOP/s"
    caption = f"median, least - largest of {found['turns']} turns; {product}"
    table.caption = escape(caption)
    return table


def others_table(found: dict[str, Any]) -> Table:
    """The MLP and the convolutional net: milliseconds of every way."""
    table = Table("network", "way", "ms", "loop / way", box=None, header_style="dim")
    for network, ways in found["others"].items():
        for way, seconds in ways.items():
            middle = 1e3 * sorted(seconds)[len(seconds) // 2]
            table.add_row(network, way, f"{middle:.1f}", _spread(ways["loop"], seconds))
    return table


def _spread(peer: list[float] | None, ours: list[float]) -> str:
    if peer is None:
        return ""
    middle, low, high = (f"{ratio:.{2 if ratio < 10 else 0}f}" for ratio in median_ratio(peer, ours))
    return f"{middle}\n{low} - {high}"
