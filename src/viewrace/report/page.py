"""One self-contained page: verdicts, figures, protocols, settings, environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import xarray as xr

from viewrace.report.figures import figures_of
from viewrace.report.style import svg
from viewrace.report.words import interval, number

__all__ = ["render_report", "rendered", "write_report"]


def render_report(data: Mapping[str, xr.Dataset]) -> str:
    """HTML of the claims in `data` (claim id to Dataset, as written by a run), readable without a network."""
    sections = [_section(dataset) for dataset in data.values()]
    first = next(iter(data.values()))
    return rendered(
        "template.html",
        sections=sections,
        settings=first.attrs["settings"],
        scale=first.attrs["scale"],
        roots=", ".join(str(root) for root in _listed(first.attrs["roots"])),
        environment={key.removeprefix("env_"): value for key, value in first.attrs.items() if key.startswith("env_")},
        ended=max(dataset.attrs["ended"] for dataset in data.values()),
    )


def rendered(template: str, **values: Any) -> str:
    """A template of this package, filled in."""
    loader = jinja2.PackageLoader("viewrace.report", "")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = number
    environment.globals["interval"] = interval
    return environment.get_template(template).render(**values)


def write_report(data: Mapping[str, xr.Dataset], path: Path) -> None:
    """Render and write the page to `path`; the caller moves it into place."""
    path.write_text(render_report(data), encoding="utf-8")


def _section(data: xr.Dataset) -> dict[str, Any]:
    verdict = json.loads(data.attrs["verdict"])
    figures = [{"caption": caption, "svg": svg(made)} for caption, made in figures_of(data, verdict).items()]
    return {
        "id": data.attrs["claim"],
        "title": data.attrs["title"],
        "protocol": data.attrs["protocol"],
        "verdict": verdict,
        "figures": figures,
    }


def _listed(value: Any) -> list[Any]:
    return list(value) if hasattr(value, "__iter__") else [value]
