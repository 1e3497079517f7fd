"""Phase diagrams: where in the space of settings there is a race, by the fastest dynamics that is valid there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

import viewrace
from viewrace.claims import Scale
from viewrace.config import Settings
from viewrace.errors import ViewraceError
from viewrace.measure import MARGINS
from viewrace.study.folder import Folder
from viewrace.study.planes import PLANES, Plane, find_plane
from viewrace.study.point import Measured, measure_point
from viewrace.study.provenance import environment, now

__all__ = ["PHASE", "phase", "phase_folder"]

PHASE = "phase-"
"""How the names of planes begin among a folder's entries."""
NETWORKS = {Scale.SMOKE: 2, Scale.QUICK: 6, Scale.FULL: 40}


def phase(
    planes: Iterable[str] | None = None,
    scale: str | Scale = Scale.QUICK,
    changes: Mapping[str, Any] | None = None,
    seed: int = 11,
    out: str | Path | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, xr.Dataset]:
    """Coverage of single networks over each plane, by plane id.

    planes: ids, default all. scale: 2, 6 or 40 networks a point; smoke draws only the ends and the middle of an axis.
    changes: settings (dotted) on top of the preset at every point. out: a folder to write to and resume from, point by point.
    A Dataset has dims y, x and the measures of `measure_point`; beside them, over `spot`, those of full networks at the spot
    points: `spot_*` with the cell's own settings, `noisy_*` with the preset's noise.
    """
    chosen = list(PLANES) if planes is None else [find_plane(name) for name in planes]
    if seed < 0:
        raise ViewraceError(f"seed must be at least 0, received {seed}: give a root seed")
    asked, scale = dict(changes or {}), _scale(scale)
    _refuse(asked, chosen)
    identity = {
        "viewrace": viewrace.__version__,
        "changes": sorted(map(str, asked.items())),
        "scale": str(scale),
        "roots": [seed],
    }
    folder = Folder(out, identity) if out is not None else None
    found: dict[str, xr.Dataset] = {}
    for plane in chosen:
        name = f"{PHASE}{plane.id}"
        if folder is not None and folder.state(name) == "whole":
            found[plane.id] = folder.read(name)
            continue
        tell = (lambda fraction, of=plane.id: progress(of, fraction)) if progress is not None else None
        found[plane.id] = data = _draw(plane, asked, scale, seed, folder, tell)
        if folder is not None:
            folder.write(name, data, {"title": plane.title})
    if folder is not None:
        folder.room.finish(False)
    return found


def phase_folder(scale: str, changes: Mapping[str, Any], seed: int) -> Path:
    """results/phase-SCALE-seedN, with a hash of the changes where there are any."""
    mark = hashlib.sha256(repr(sorted(map(str, changes.items()))).encode()).hexdigest()[:6] if changes else ""
    return Path("results") / "-".join(filter(None, ("phase", scale, f"seed{seed}", mark)))


def _scale(name: str | Scale) -> Scale:
    try:
        return Scale(name)
    except ValueError:
        raise ViewraceError(f"scale must be one of smoke, quick, full, received {name}: choose one") from None


def _refuse(asked: Mapping[str, Any], planes: Iterable[Plane]) -> None:
    """Every point's settings are built before any compute."""
    for key, wanted in (("net.family", "patch"), ("data.source", "features")):
        if asked.get(key, wanted) != wanted:
            raise ViewraceError(f"{key} must be {wanted} in a phase diagram, received {asked[key]}: leave it out")
    for plane in planes:
        for axis in (plane.x, plane.y):
            if axis in asked:
                raise ViewraceError(f"{axis} is varied in plane {plane.id}: leave it out of --set, or draw other planes")
        for x in plane.x_values:
            for y in plane.y_values:
                plane.settings(asked, x, y)


def _draw(
    plane: Plane,
    asked: Mapping[str, Any],
    scale: Scale,
    seed: int,
    folder: Folder | None,
    progress: Callable[[float], None] | None,
) -> xr.Dataset:
    started = now()
    xs, ys = plane.grid(scale)
    clean, noisy = ([plane.settings(asked, x, y, on_grid) for x, y in plane.spots] for on_grid in (True, False))
    cells = [plane.settings(asked, x, y) for y in ys for x in xs]
    points = [(each, plane.clean) for each in cells] + [(each, False) for each in (*clean, *noisy)]
    rows = []
    for index, (chosen, projected) in enumerate(points):
        rows.append(_kept(f"{plane.id}-{index}", folder, chosen, projected, scale, seed))
        if progress is not None:
            progress((index + 1) / len(points))
    columns = _columns(rows[: len(cells)], ("y", "x"), (len(ys), len(xs)))
    for part, first in (("spot", len(cells)), ("noisy", len(cells) + len(clean))):
        found = _columns(rows[first : first + len(clean)], ("spot",), (len(clean),), rows[0])
        columns |= {f"{part}_{name}": column for name, column in found.items()}
    columns |= {"spot_x": ("spot", [x for x, _ in plane.spots]), "spot_y": ("spot", [y for _, y in plane.spots])}
    data = xr.Dataset(columns, coords={"x": xs, "y": ys})
    return data.assign_attrs(_attributes(plane, asked, scale, seed) | {"started": started, "ended": now()})


def _kept(key: str, folder: Folder | None, settings: Settings, projected: bool, scale: Scale, seed: int) -> Measured:
    """A point measured, or read back where an interrupted run has measured it."""
    held = folder.room.get(key) if folder is not None else None
    if held is not None:
        return {name: tensor.numpy() for name, tensor in held.items()}
    found = measure_point(settings, seed, NETWORKS[scale], projected)
    if folder is not None:
        folder.room.put(key, {name: torch.as_tensor(value) for name, value in found.items()})
    return found


def _columns(
    rows: Sequence[Measured], dims: tuple[str, ...], shape: tuple[int, ...], like: Measured | None = None
) -> dict[str, Any]:
    """Each measure of the points as a variable; `coverage` has one axis more, the network."""
    columns: dict[str, Any] = {}
    for name, first in (like or rows[0]).items():
        table = np.array([row[name] for row in rows]).reshape(*shape, *first.shape)
        columns[name] = ((*dims, "network"), table) if first.ndim else (dims, table)
    return columns


def _attributes(plane: Plane, asked: Mapping[str, Any], scale: Scale, seed: int) -> dict[str, Any]:
    return {
        "plane": plane.id,
        "title": plane.title,
        "x": plane.x,
        "y": plane.y,
        "clean": int(plane.clean),
        "scale": str(scale),
        "roots": seed,
        "networks": NETWORKS[scale],
        "fraction": MARGINS[0],
        "steps": plane.settings(asked, plane.x_values[0], plane.y_values[0]).train.steps,
        "changes": json.dumps(dict(asked)),
    } | {f"env_{name}": value for name, value in environment().items()}
