"""The command line: reads arguments, shows progress and tables. No logic of its own."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from viewrace.commands.audit import audit
from viewrace.commands.show import show
from viewrace.commands.stopped import going_on, stopped
from viewrace.errors import ViewraceError

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Find out which views a network learns, why ensembles help, and whether distillation keeps the gain.",
)
app.command()(audit)
app.command()(show)
console = Console()
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change a setting, e.g. net.q=3")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="results folder")]


def _version(asked: bool) -> None:
    if asked:
        import viewrace

        console.print(f"viewrace {viewrace.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")] = False,
) -> None:
    pass


@app.command()
def reproduce(
    claims: Annotated[
        str | None, typer.Option("--claims", metavar="ID,..", help="which claims, or all; see viewrace claims")
    ] = None,
    scale: Annotated[str, typer.Option("--scale", metavar="SCALE", help="smoke, quick or full")] = "quick",
    views: Annotated[int | None, typer.Option("--views", metavar="M", help="views per class; default 3")] = None,
    changes: Set = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="first root seed")] = 11,
    out: Out = None,
    weights: Annotated[bool, typer.Option("--weights", help="keep the trained networks (safetensors)")] = False,
    processes: Annotated[
        int | None, typer.Option("--processes", metavar="N", help="default: one a root seed where there are cores; 1: one in all")
    ] = None,
) -> None:
    """Run the claims, judge them, write the report."""
    from viewrace import study
    from viewrace.claims import Scale
    from viewrace.presets import resolve
    from viewrace.screen import Screen, verdict_table

    asked = _overrides(changes)
    ids = None if claims is None else [name.strip() for name in claims.split(",") if name.strip()]
    if out is None:
        known = scale if scale in list(Scale) else Scale.QUICK
        out = study.default_folder(Scale(known), resolve(asked, study.agreed_views(views, asked)), seed)
    with _going_on(out), Screen(console) as screen:
        result = study.reproduce(ids, scale, views, asked, seed, out, weights, screen, processes)
        _write_report(out)
    console.print(verdict_table(verdict.to_json() for verdict in result.verdicts))
    console.print(f"report: {out / 'report.html'}", highlight=False, soft_wrap=True)


@app.command()
def claims() -> None:
    """List the claims, each with its statement and source."""
    from viewrace.claims import CLAIMS

    for claim in CLAIMS:
        console.print(f"[bold]{claim.id}[/bold]  {claim.statement}", highlight=False)
        console.print(f"  source: {claim.source}", highlight=False, style="dim")


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="settings, or the name of a preset: blocker-001")],
    count: Annotated[int, typer.Option("--count", metavar="N", help="networks to train")] = 20,
    changes: Set = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="root seed")] = 1,
    out: Out = None,
    weights: Annotated[bool, typer.Option("--weights", help="keep the trained networks (safetensors)")] = False,
) -> None:
    """Train networks under the settings of a file, or of a named preset, and measure what each learned."""
    from viewrace import study
    from viewrace.config import settings
    from viewrace.presets import named
    from viewrace.screen import Screen, summary_table

    chosen = settings(_overrides(changes), base=named(config))
    out = out or Path("results") / f"train-{config.stem}-n{count}-seed{seed}-{chosen.fingerprint()[:6]}"
    with _going_on(out), Screen(console) as screen:
        screen.begins(f"{count} networks")
        data = study.train_networks(chosen, count, seed, out, weights, screen.moves)
    console.print(summary_table(study.summary(data)))
    console.print(f"results: {out}", highlight=False, soft_wrap=True)


@app.command()
def diagnose(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="settings (YAML), or the name of a preset: blocker-001")],
    changes: Set = None,
    count: Annotated[int, typer.Option("--count", metavar="N", help="networks to train")] = 8,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="root seed")] = 1,
    no_train: Annotated[bool, typer.Option("--no-train", help="only what can be told before training, in seconds")] = False,
    out: Out = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="write the diagnosis to this file too")] = None,
) -> None:
    """Say whether a setting shows a race, and if not what forbids it and what to change."""
    from viewrace import study
    from viewrace.config import settings
    from viewrace.presets import named
    from viewrace.report import write_diagnosis_figure
    from viewrace.screen import Screen
    from viewrace.screen_diagnosis import print_diagnosis

    chosen = settings(_overrides(changes), base=named(config))
    kind = "untrained" if no_train else f"n{count}"
    out = out or Path("results") / f"diagnose-{config.stem}-{kind}-seed{seed}-{chosen.fingerprint()[:6]}"
    with _going_on(out), Screen(console) as screen:
        screen.begins("networks")
        found = study.diagnose(chosen, count, seed, not no_train, None, out, screen.moves).to_json()
    write_diagnosis_figure(found, out)
    if json_file is not None:
        study.write_json(json_file, found)
    print_diagnosis(console, found)
    console.print(f"results: {out}", highlight=False, soft_wrap=True)


@app.command()
def predict(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="settings, or the name of a preset: blocker-001")],
    count: Annotated[int, typer.Option("--count", metavar="N", help="networks whose winners are told")] = 10,
    rule: Annotated[str, typer.Option("--rule", help="growth, azl, neural-race, powers, l2, sum, or probe")] = "growth",
    pilots: Annotated[int, typer.Option("--pilots", metavar="N", help="other networks, trained to calibrate on")] = 24,
    verify: Annotated[bool, typer.Option("--verify", help="train the networks too, and see")] = False,
    changes: Set = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="root seed")] = 1,
    out: Out = None,
) -> None:
    """Tell which view each network will learn, before it is trained."""
    from viewrace import study
    from viewrace.config import settings
    from viewrace.presets import named
    from viewrace.screen import Screen, prediction_table, summary_table

    chosen = settings(_overrides(changes), base=named(config))
    mark = f"{rule}-n{count}-seed{seed}-{chosen.fingerprint()[:6]}" + ("-verified" if verify else "")
    out = out or Path("results") / f"predict-{config.stem}-{mark}"
    with _going_on(out), Screen(console) as screen:
        screen.begins(f"{pilots} pilot networks" + (f" and {count} to verify" if verify else ""))
        data = study.predict_winners(chosen, count, seed, rule, pilots, verify, out, screen.moves)
    console.print(prediction_table(data))
    console.print(summary_table(study.prediction_summary(data)))
    console.print(f"results: {out}", highlight=False, soft_wrap=True)


@app.command()
def phase(
    planes: Annotated[str | None, typer.Option("--planes", metavar="ID,..", help="q-init, mu-noise, p-M, delta-q")] = None,
    scale: Annotated[str, typer.Option("--scale", metavar="SCALE", help="smoke, quick or full")] = "quick",
    changes: Set = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="root seed")] = 11,
    out: Out = None,
) -> None:
    """Draw phase diagrams: where in the space of settings there is a race."""
    from viewrace import study
    from viewrace.report.phase import phase_figures, save_figures
    from viewrace.screen import Screen, phase_table

    asked = _overrides(changes)
    ids = None if planes is None else [name.strip() for name in planes.split(",") if name.strip()]
    out = out or study.phase_folder(scale, asked, seed)
    with _going_on(out), Screen(console) as screen:
        data = study.phase(ids, scale, asked, seed, out, screen.moves_on)
        save_figures(phase_figures(data), out)
    console.print(*map(phase_table, data.values()), sep="\n")
    console.print(f"figures and data: {out}", highlight=False, soft_wrap=True)


@app.command()
def bench(
    turns: Annotated[int, typer.Option("--turns", metavar="N", help="how often each way takes its turn")] = 5,
    short: Annotated[bool, typer.Option("--short", help="few small sizes, for a try")] = False,
    changes: Set = None,
    out: Out = None,
) -> None:
    """Time the engine beside its peers and the machine's own matrix products; --set train.device=cuda, train.precision=mixed."""
    from viewrace.config import settings
    from viewrace.screen_bench import run_bench

    config = settings(_overrides(changes)).train
    run_bench(console, turns, short, out or Path("results") / f"bench-{config.device}-{config.precision}", config)


def _write_report(out: Path) -> None:
    from viewrace.claims import CLAIMS
    from viewrace.files import write_whole
    from viewrace.report import write_report
    from viewrace.study import Folder

    folder = Folder(out)
    data = {claim.id: folder.read(claim.id) for claim in CLAIMS if folder.state(claim.id) == "whole"}
    write_whole(out / "report.html", lambda partial: write_report(data, partial))


def _overrides(changes: list[str] | None) -> dict[str, Any]:
    from viewrace.config import parse_override

    return dict(parse_override(change) for change in changes or [])


def _going_on(out: Path) -> AbstractContextManager[None]:
    """Says how to go on when a run is stopped by Ctrl-C."""
    return stopped(console, lambda: going_on(out))


def _received(error: Exception) -> str:
    """The value of an option that could not be read, which the parser's message leaves out."""
    found = getattr(error.__context__, "errors", None)
    return f", received {found()[0]['input']!r}" if callable(found) else ""


def main() -> None:
    """Entry point: bad input is one line on stderr and exit status 2, never a traceback."""
    # threads that spin for long make small operations a hundred times slower where another process wants a core, and
    # threads that never spin half as slow again where none does; read when torch is first imported, which is later
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        sys.exit(app(standalone_mode=False))
    except ViewraceError as error:
        print(f"viewrace: {error}", file=sys.stderr)
        sys.exit(2)
    except typer.Abort:
        sys.exit(130)
    except Exception as error:  # the parser's own errors share no public base class
        if not hasattr(error, "format_message"):
            raise
        message = " ".join(error.format_message().split()).rstrip(".")
        print(f"viewrace: {message}{_received(error)}; see viewrace --help" if message else "", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
