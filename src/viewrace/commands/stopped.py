"""What a command says when it is stopped by Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

__all__ = ["going_on", "stopped"]


@contextmanager
def stopped(console: Console, kept: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C within this block is one line, `kept`, and exit status 130."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(f"stopped; {kept()}", highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None


def going_on(out: Path) -> str:
    """Whether a results folder holds anything to go on from."""
    if any(out.glob("*.nc")) or any(out.glob(".networks/*")):
        return f"what is complete is kept in {out}. Run the same command again to go on from there."
    return "nothing was complete yet. The same command starts anew."
