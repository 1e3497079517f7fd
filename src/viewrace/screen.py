"""What the terminal shows: progress with time left, and tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text
from xarray import Dataset

from viewrace.claims import Claim, Verdict
from viewrace.measure import Estimate
from viewrace.report.words import interval, number

__all__ = [
    "Screen",
    "audit_parts",
    "audit_table",
    "measured",
    "phase_table",
    "prediction_table",
    "summary_table",
    "verdict_table",
]

MOST_ROWS, MOST_COLUMNS = 20, 10
COLOUR = {"supported": "green", "refuted": "red", "inconclusive": "yellow"}


class Screen:
    """Follows a run on the terminal; without a terminal it prints a line per claim and nothing else."""

    def __init__(self, console: Console):
        self.console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("elapsed"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._what = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def begins(self, what: str) -> None:
        """Start a bar for `what`."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(what, total=1.0)

    def starts(self, claim: Claim) -> None:
        self.begins(claim.id)

    def moves(self, fraction: float) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=fraction)

    def moves_on(self, what: str, fraction: float) -> None:
        """A bar for each `what` in turn."""
        if self._what != what:
            self._what = what
            self.begins(what)
        self.moves(fraction)

    def ends(self, claim: Claim, verdict: Verdict, reused: bool) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        how = "reused, complete from an earlier run" if reused else f"{verdict.seconds:.0f} s"
        self.console.print(
            f"{claim.id}: [{COLOUR[verdict.verdict]}]{verdict.verdict}[/] ({how})", highlight=False, soft_wrap=True
        )

    def notes(self, text: str) -> None:
        self.console.print(text, style="yellow", highlight=False, soft_wrap=True)


def verdict_table(verdicts: Iterable[Mapping[str, Any]], every_check: bool = False) -> Table:
    """Claims with predicted, measured (95% interval), n, verdict and seconds; with every check on request."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, side in (("claim", "left"), ("predicted", "right"), ("measured [95%]", "right"), ("n", "right")):
        table.add_column(name, justify=side, no_wrap=name != "claim")  # type: ignore[arg-type]
    table.add_column("verdict", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    for verdict in verdicts:
        table.add_row(verdict["id"], *_cells(verdict), f"{verdict['seconds']:.0f}", style="bold" if every_check else None)
        for check in verdict["checks"] if every_check else ():
            table.add_row(f"  {check['name']} [dim]({check['rule']})[/dim]", *_cells(check), "")
        for check in () if every_check else _reasons(verdict):
            table.add_row(f"  {check['name']} [dim]({check['rule']})[/dim]", *_cells(check), "")
        for flag in verdict["flags"]:
            table.add_row(f"  [dim]{flag}[/dim]")
    return table


def _reasons(verdict: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The checks below the headline that made a claim's verdict what it is, where it is not supported."""
    if verdict["verdict"] == "supported":
        return []
    return [check for check in verdict["checks"][1:] if check["verdict"] == verdict["verdict"]]


def _cells(item: Mapping[str, Any]) -> tuple[str, str, str, str]:
    measured = interval(item["estimate"], item["low"], item["high"]).replace("[", r"\[")
    judged = f"[{COLOUR[item['verdict']]}]{item['verdict']}[/]"
    return number(item["predicted"]), measured, str(item["n"]), judged


def phase_table(data: Dataset) -> Group:
    """Coverage of one network over the plane, as in the figure; * where not every network met its stopping rule."""
    title = f"{data.attrs['title']}: coverage, margin {data.attrs['fraction']:g}, n = {data.attrs['networks']} networks a point"
    axes = f"up: {data.attrs['y']}, right: {data.attrs['x']}; *: not every network had every example right"
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for name in ("", *(f"{x:g}" for x in data["x"].values)):
        table.add_column(name, justify="right", no_wrap=True)
    for row in reversed(range(data.sizes["y"])):
        marks = np.where(data["done"].values[row] < 1, "*", "")
        cells = [f"{value:.2f}{mark}" for value, mark in zip(data["margin"].values[row], marks, strict=True)]
        table.add_row(f"{data['y'].values[row]:g}", *cells)
    return Group(title, axes, table, "")


def summary_table(lines: Mapping[str, Estimate | float | str]) -> Table:
    """Measures of trained networks, with intervals where they are means over networks."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("measure")
    table.add_column("value [95%]")
    table.add_column("n", justify="right")
    for name, value in lines.items():
        if isinstance(value, Estimate):
            table.add_row(name, interval(value.value, value.low, value.high).replace("[", r"\["), str(value.n))
        else:
            table.add_row(name, value if isinstance(value, str) else number(value), "")
    return table


def measured(value: Any) -> tuple[str, str]:
    """A value as it stands in a table, with its interval, and its n; from JSON."""
    if isinstance(value, Mapping):
        return interval(value["value"], value["low"], value["high"]).replace("[", r"\["), str(value["n"])
    return "-" if value is None else value if isinstance(value, str) else number(value), ""


def audit_parts(found: Mapping[str, Any]) -> list[RenderableType]:
    """An audit's table, its advice, and what to know before reading on; from the audit's JSON."""
    advice = [Text(line, style="bold") for line in found["advice"]]
    flags = [Text(f"note: {flag}", style="yellow") for flag in found["flags"]]
    return [audit_table(found), *advice, *flags]


def audit_table(found: Mapping[str, Any]) -> Table:
    """One member, the ensemble, the gain, and the best student where there was one; from the audit's JSON."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("measure")
    quality = found["pilot"]["quality"] if found["pilot"] else None
    for name in ("one member", f"ensemble of {found['members']}", r"gain \[95%]", *(["student"] if quality else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for name, gain in found["gain"]["gains"].items():
        levels = [f"{found['gain'][part][name]['value']:.3f}" for part in ("single", "ensemble")]
        table.add_row(name, *levels, measured(gain)[0], *([f"{quality[name]['value']:.3f}"] if quality else []))
    return table


def prediction_table(data: Dataset) -> Table:
    """The predicted view of each class (views from 1) and its probability in percent, a row a network; red where wrong."""
    rows, columns = min(data.sizes["seed"], MOST_ROWS), min(data.sizes["label"], MOST_COLUMNS)
    cut = rows < data.sizes["seed"] or columns < data.sizes["label"]
    caption = "view, from 1 (in prediction.nc from 0), and its probability in percent"
    if cut:
        caption += f"; the first {rows} networks and {columns} classes, all are in the file"
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", caption=caption)
    table.add_column("network", justify="right")
    for label in range(columns):
        table.add_column(f"{label}", justify="right", no_wrap=True)
    sure = data["probability"].max("view").values
    for seed in range(rows):
        table.add_row(str(seed), *(_told(data, sure, seed, label) for label in range(columns)))
    return table


def _told(data: Dataset, sure: Any, seed: int, label: int) -> str:
    view, percent = int(data["predicted"].values[seed, label]), 100 * float(sure[seed, label])
    text = f"{view + 1} [dim]({min(percent, 99):.0f})[/dim]"
    wrong = "winner" in data and int(data["winner"].values[seed, label]) != view
    return f"[red]{text}[/red]" if wrong else text
