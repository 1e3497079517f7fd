"""What the terminal shows of a diagnosis: what is the matter and what to change, then what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from viewrace.screen import measured

__all__ = ["diagnosis_tables", "print_diagnosis"]


def print_diagnosis(console: Console, found: Mapping[str, Any]) -> None:
    """The conclusion, the settings that mend everything in one line, and the tables; from the JSON of a diagnosis."""
    console.print(found["conclusion"], style="bold", highlight=False, markup=False)
    if found["set"]:
        console.print(f"To change, all at once: {' '.join(found['set'])}", highlight=False, markup=False, soft_wrap=True)
    for table in diagnosis_tables(found):
        console.print("", table)


def diagnosis_tables(found: Mapping[str, Any]) -> list[Table]:
    """What each missing ingredient is worth, how to mend it, and what was measured; from the JSON of a diagnosis."""
    tried = [rung for rung in found["rungs"] if rung["effect"] is not None]
    return [*([_worths(tried)] if tried else []), *([_mending(found["rungs"])] if found["rungs"] else []), _lines(found)]


def _lines(found: Mapping[str, Any]) -> Table:
    """Every measure before and after training, with what it says."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("measure")
    table.add_column(r"value \[95%]", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("what it says", style="dim")
    for title, part in (("before training", "before"), ("after training", "after")):
        if found[part]:
            table.add_row(f"[bold]{title}[/bold]")
        for line in found[part]:
            table.add_row(f"  {line['name']}", *measured(line["value"]), line["says"].replace("[", r"\["))
    return table


def _worths(rungs: Iterable[Mapping[str, Any]]) -> Table:
    """Coverage with an ingredient alone left as it is, and with it alone mended; the largest cause first."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("missing ingredient", "cause?", "worth [95%]", "only this left", "only this mended"):
        table.add_column(name.replace("[", r"\["), no_wrap=name != "missing ingredient")
    for rung in rungs:
        judged = {True: "[red]yes[/]", False: "no", None: "not told"}[rung["cause"]]
        table.add_row(rung["name"], judged, *(_short(rung[part]) for part in ("effect", "alone", "mended")))
    return table


def _short(value: Mapping[str, Any] | None) -> str:
    return "-" if value is None else rf"{value['value']:.2f} \[{value['low']:.2f}, {value['high']:.2f}]"


def _mending(rungs: list[Mapping[str, Any]]) -> Table:
    """How each missing ingredient stands, and the settings that mend it, whole however narrow the terminal is."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("missing ingredient")
    table.add_column("how it stands")
    table.add_column("to mend it", no_wrap=True, overflow="fold", min_width=max(map(_widest, rungs), default=0))
    for rung in rungs:
        table.add_row(rung["name"], rung["here"].replace("[", r"\["), "\n".join(rung["set"]))
    return table


def _widest(rung: Mapping[str, Any]) -> int:
    return max(map(len, rung["set"]), default=0)
