"""`viewrace audit`: a user's own model and data, or only what its members say of test examples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console, Group

from viewrace.commands.stopped import stopped
from viewrace.errors import ViewraceError

if TYPE_CHECKING:
    from viewrace.auditing import Audit

__all__ = ["audit"]

console = Console()
SPLITS: tuple[Literal["train", "test"], ...] = ("train", "test")


def audit(
    model: Annotated[str | None, typer.Option("--model", metavar="MODULE:NAME", help="builds one network of yours")] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="SPEC", help="digits, cifar10:DIR, folder:DIR, ..")] = None,
    logits: Annotated[list[Path] | None, typer.Option("--logits", metavar="FILE", help="saved logits and labels instead")] = None,
    saved: Annotated[Path | None, typer.Option("--saved", metavar="FILE", help="members that were trained before")] = None,
    budget: Annotated[float | None, typer.Option("--budget", metavar="MINUTES", help="time for all training; default 10")] = None,
    members: Annotated[int | None, typer.Option("--members", metavar="N", help="default: as the budget allows")] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", help="images of each split, at most")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="how to train, e.g. epochs=20")] = None,
    average: Annotated[str, typer.Option("--average", help="logits or probabilities")] = "logits",
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="root seed")] = 1,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="folder for page, JSON and members")] = None,
) -> None:
    """Say whether an ensemble of your model helps, why, and whether one network can be taught the gain."""
    from viewrace.auditing import audit_logits, read_logits

    asked = logits, saved, budget, members, limit, changes, average
    if logits and (model or data or saved):
        raise ViewraceError("give either --logits, or --model and --data: the audit reads logits or makes its own")
    if logits and any(each is not None for each in (budget, members, limit, changes)):
        raise ViewraceError("--budget, --members, --limit and --set are about training, received with --logits: leave them out")
    if logits:
        name = logits[0].stem
        out = out or _folder(name, seed, asked)
        found = audit_logits(*read_logits(logits), average=average, seed=seed)
    elif model is None or data is None:
        raise ViewraceError("an audit needs --model and --data, or --logits: see viewrace audit --help")
    else:
        name = f"{model.replace(':', '.')}-{data.partition(':')[0]}"
        out = out or _folder(name, seed, asked)
        found = _trained(model, data, limit, saved, members, budget, changes, average, seed, out)
    _told(found.to_json() | {"name": name}, out)


def _folder(name: str, seed: int, asked: Sequence[object]) -> Path:
    """Where an audit goes that has no --out: a folder of its own for whatever else was asked."""
    words = json.dumps([str(each) for each in asked])
    return Path("results") / f"audit-{name}-seed{seed}-{hashlib.sha256(words.encode()).hexdigest()[:6]}"


def _told(tree: dict[str, Any], out: Path) -> None:
    """Write JSON and page, and print what they say."""
    from viewrace.files import write_json, write_whole
    from viewrace.report import write_audit
    from viewrace.screen import audit_parts
    from viewrace.study.provenance import environment

    write_json(out / "audit.json", tree)
    write_whole(out / "audit.html", lambda partial: write_audit(tree, partial, environment()))
    console.print(Group(*audit_parts(tree)))
    console.print(f"report: {out / 'audit.html'}", highlight=False, soft_wrap=True)


def _trained(
    model: str,
    data: str,
    limit: int | None,
    saved: Path | None,
    members: int | None,
    budget: float | None,
    changes: list[str] | None,
    average: str,
    seed: int,
    out: Path,
) -> Audit:
    """The audit of a model; its members are kept in `out`, where they were not read from a file."""
    from viewrace.auditing import audit as run
    from viewrace.auditing.run import BUDGET
    from viewrace.config import parse_override
    from viewrace.data.images import load_images
    from viewrace.nets.module import import_factory
    from viewrace.screen import Screen
    from viewrace.train.members import MemberConfig, Members

    factory, config = import_factory(model), MemberConfig(**dict(parse_override(change) for change in changes or []))
    if saved is not None and members is not None:
        raise ViewraceError("give either --saved or --members: saved members are taken as many as they are")
    train, test = (load_images(data, split, limit) for split in SPLITS)
    have = members if saved is None else Members.load(saved, factory)
    save = out / "members.safetensors" if saved is None else None
    with stopped(console, lambda: _kept(save)), Screen(console) as screen:
        return run(
            factory,
            train,
            test,
            members=have,
            budget=BUDGET if budget is None else budget,
            config=config,
            average=average,
            seed=seed,
            save=save,
            progress=screen.moves_on,
        )


def _kept(save: Path | None) -> str:
    """What is left of an audit that is stopped."""
    there = save is not None and save.is_file()
    return f"the members are kept: --saved {save} goes on from them." if there else "members are kept once all are trained."
