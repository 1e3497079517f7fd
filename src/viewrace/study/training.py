"""Train networks under given settings and measure what each one learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import viewrace
from viewrace.claims import Lab
from viewrace.claims.lab import Networks
from viewrace.claims.single_view import measures
from viewrace.config import Settings
from viewrace.data import Distribution, check
from viewrace.errors import ViewraceError
from viewrace.files import write_text
from viewrace.measure import Estimate, bootstrap, in_context_accuracy, margin, union
from viewrace.streams import Stream, numpy_generator
from viewrace.study.folder import Folder
from viewrace.study.provenance import environment, now
from viewrace.train import Outcome, device_of

__all__ = ["ENTRY", "summary", "train_networks"]

ENTRY = "networks"
ASSUMPTIONS = {
    "check_probe_accuracy": "data: A1, linear probe on each view alone",
    "check_largest_cosine": "data: A2, largest cosine between views",
    "check_norm_ratio": "data: A3, largest over smallest norm",
    "check_views_shown": "data: fraction showing 1, 2, .. views",
    "check_dropped": "data: distractors without a patch, per example",
}


def train_networks(
    settings: Settings,
    count: int = 20,
    seed: int = 1,
    out: str | Path | None = None,
    keep_weights: bool = False,
    progress: Callable[[float], None] | None = None,
) -> xr.Dataset:
    """Train `count` networks that differ in their init alone on one data set (root `seed`), and measure each.

    Returns a Dataset over seed, label and view (docs/results.md), with the coverage of the ensemble of all beside; `out` is
    a folder to write it to, read back at once where it is there already.
    """
    if count < 1:
        raise ViewraceError(f"count must be at least 1, received {count}: give the number of networks")
    if seed < 0:
        raise ViewraceError(f"seed must be at least 0, received {seed}: give a root seed")
    device_of(settings.train)
    identity = {"viewrace": viewrace.__version__, "settings": settings.fingerprint(), "count": count, "roots": [seed]}
    folder = Folder(out, identity) if out is not None else None
    if folder is not None and folder.state(ENTRY) == "whole":
        return folder.read(ENTRY)
    started, told = now(), [0.0]

    def tell(units: float) -> None:
        told[0] += units / count
        if progress is not None:
            progress(min(told[0], 1.0))

    lab = Lab(settings, [seed], tell, folder.room if folder else None)
    networks = lab.members(lab.bench(seed), count)
    data = _measured(networks)
    data = data.assign_attrs(_attributes(settings, seed, started) | _assumptions(lab.bench(seed).distribution))
    if folder is not None:
        folder.write(ENTRY, data, {"count": count})
        write_text(folder.path / "settings.yaml", settings.to_yaml())
        folder.room.finish(keep_weights)
    return data


def _attributes(settings: Settings, seed: int, started: str) -> dict[str, Any]:
    plain = {"settings": settings.to_yaml(), "roots": [seed], "started": started, "ended": now()}
    return plain | {f"env_{name}": value for name, value in environment().items()}


def _measured(networks: Networks) -> xr.Dataset:
    average = networks.views.average()
    data = xr.Dataset(measures(networks))
    data["ensemble_margin"] = margin(average.probes)[0]
    data["ensemble_in_context"] = in_context_accuracy(average.single, average.labels)[0]
    data["ensemble_union"] = union(networks.views.probes)
    return data


def _assumptions(distribution: Distribution) -> dict[str, Any]:
    report = check(distribution)
    return {
        "check_probe_accuracy": list(report.probe_accuracy),
        "check_largest_cosine": report.largest_cosine,
        "check_norm_ratio": report.norm_ratio,
        "check_views_shown": list(report.views_shown),
        "check_dropped": report.dropped,
    }


def summary(data: xr.Dataset) -> dict[str, Estimate | float | str]:
    """What a Dataset of trained networks says, one line a measure, with intervals over networks."""
    generator = numpy_generator(int(np.atleast_1d(data.attrs["roots"])[0]), Stream.BOOTSTRAP)
    lines: dict[str, Estimate | float | str] = {"coverage, isolated": bootstrap(data["isolated"], generator)}
    for fraction in data["fraction"].values:
        lines[f"coverage, margin {fraction:g}"] = bootstrap(data["margin"].sel(fraction=fraction), generator)
    lines["single-view accuracy"] = bootstrap(data["in_context"], generator)
    for name in ("dominance", "effective_rank", "surviving_views"):
        lines[name.replace("_", " ")] = bootstrap(data[name], generator)
    lines["seed diversity"] = float(data["seed_diversity"].mean())
    lines["ensemble of all, margin 0.1"] = float(data["ensemble_margin"])
    lines["ensemble of all, single-view accuracy"] = float(data["ensemble_in_context"])
    lines["union of all, margin 0.1"] = float(data["ensemble_union"])
    lines |= {label: _numbers(data.attrs[name]) for name, label in ASSUMPTIONS.items()}
    counts = {group.label: int((data["outcome"].values == int(group)).sum()) for group in Outcome}
    lines["seeds"] = ", ".join(f"{count} {label}" for label, count in counts.items() if count)
    return lines


def _numbers(value: Any) -> str:
    return ", ".join(f"{number:.3f}" for number in np.atleast_1d(value))
