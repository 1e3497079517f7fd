"""`viewrace show`: what a results folder holds, as it was printed when it was made; nothing is computed again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.errors import ConsoleError, MarkupError

from viewrace.errors import ViewraceError

if TYPE_CHECKING:
    from viewrace.study import Folder

__all__ = ["show"]

Parts = Callable[[Any], list[RenderableType]]
console = Console()
DAMAGE = (ConsoleError, MarkupError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What tables raise where a file is no longer what was written."""


def show(folder: Annotated[Path, typer.Argument(metavar="DIR", help="results folder")]) -> None:
    """Show the verdicts, measures, audit or benchmark in a results folder."""
    from viewrace import study
    from viewrace.screen import audit_parts
    from viewrace.screen_bench import bench_parts

    kept: dict[str, Parts] = {"audit": audit_parts, "bench": bench_parts}
    found = [name for name in kept if (folder / f"{name}.json").is_file()]
    for name in found:
        _json(folder / f"{name}.json", kept[name])
    page = folder / "audit.html"
    if "audit" in found and page.is_file():
        console.print(f"report: {page}", highlight=False, soft_wrap=True)
    if not found or (folder / "manifest.json").is_file():
        _entries(study.Folder(folder))


def _json(file: Path, parts: Parts) -> None:
    """Print what a file of plain values says, or nothing of it."""
    from viewrace.files import read_json

    tree = read_json(file)
    try:
        console.print(Group(*parts(tree)))
    except DAMAGE:
        raise ViewraceError(f"{file} is damaged, or of another version: run the same command again to renew it") from None


def _entries(held: Folder) -> None:
    """Everything that is whole, and the names of what is not."""
    whole = [name for name in held.manifest["entries"] if held.state(name) == "whole"]
    _verdicts(held, whole)
    _networks(held, whole)
    for name in held.manifest["entries"]:
        if name not in whole:
            file = held.path / f"{name}.nc"
            what = "was changed since it was written (checksum)" if file.is_file() else "is not there any more"
            words = f"{file} {what}: run the same command again"
            console.print(words, style="yellow", highlight=False, soft_wrap=True)
    if not whole:
        raise ViewraceError(f"{held.path} holds no whole result: run the same command again to go on")


def _verdicts(held: Folder, whole: list[str]) -> None:
    from viewrace import study
    from viewrace.screen import verdict_table
    from viewrace.study.prediction import PREDICTION
    from viewrace.study.training import ENTRY

    others = (ENTRY, PREDICTION, study.DIAGNOSIS)
    claims = [name for name in whole if name not in others and not name.startswith(study.PHASE)]
    if claims:
        console.print(verdict_table(map(held.note, claims), every_check=True))


def _networks(held: Folder, whole: list[str]) -> None:
    """What is no verdict: measures of networks, a diagnosis, predictions, phase diagrams."""
    from viewrace import study
    from viewrace.screen import phase_table, prediction_table, summary_table
    from viewrace.screen_diagnosis import print_diagnosis
    from viewrace.study.prediction import PREDICTION
    from viewrace.study.training import ENTRY

    if ENTRY in whole:
        console.print(summary_table(study.summary(held.read(ENTRY))))
    if study.DIAGNOSIS in whole:
        print_diagnosis(console, held.note(study.DIAGNOSIS))
    if PREDICTION in whole:
        data = held.read(PREDICTION)
        console.print(prediction_table(data))
        console.print(summary_table(study.prediction_summary(data)))
    for name in whole:
        if name.startswith(study.PHASE):
            console.print(phase_table(held.read(name)))
