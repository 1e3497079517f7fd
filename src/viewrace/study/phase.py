"""Phase diagrams: where in the space of settings there is a race, by the fastest dynamics that is valid there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

import viewrace
from viewrace.claims import Lab, Scale
from viewrace.claims.lab import Bench, Role
from viewrace.config import settings as checked
from viewrace.errors import ViewraceError
from viewrace.measure import MARGINS, bootstrap, coverage, margin
from viewrace.nets import PatchNet
from viewrace.race import Projection, run_projected
from viewrace.streams import Stream, numpy_generator
from viewrace.study.folder import Folder
from viewrace.study.planes import PLANES, Plane, find_plane
from viewrace.study.provenance import environment, now
from viewrace.train import evaluate_logits

__all__ = ["FULL", "PROJECTED", "phase", "phase_folder"]

NETWORKS = {Scale.SMOKE: 2, Scale.QUICK: 6, Scale.FULL: 40}
FULL, PROJECTED = 0, 1


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
    changes: settings (dotted) on top of the preset at every point. out: a folder to write to and resume from. A Dataset has
    dims y, x with `margin` (mean of margin-0.1 coverage), its interval, `excess` = (margin - 1/M) / (1 - 1/M), `dynamics` (0
    full networks, 1 projected), and spot points of full networks beside.
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
        name = f"phase-{plane.id}"
        if folder is not None and folder.state(name) == "whole":
            found[plane.id] = folder.read(name)
            continue
        tell = (lambda fraction, of=plane.id: progress(of, fraction)) if progress is not None else None
        found[plane.id] = data = _draw(plane, asked, scale, seed, tell)
        if folder is not None:
            folder.write(name, data, {"title": plane.title})
    if folder is not None:
        folder.finish(False)
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
    checked({key: value for key, value in asked.items() if key not in ("data.views", "data.classes")})
    for key, wanted in (("net.family", "patch"), ("data.source", "features")):
        if asked.get(key, wanted) != wanted:
            raise ViewraceError(f"{key} must be {wanted} in a phase diagram, received {asked[key]}: leave it out")
    for plane in planes:
        for axis in (plane.x, plane.y):
            if axis in asked:
                raise ViewraceError(f"{axis} is varied in plane {plane.id}: leave it out of --set, or draw other planes")


def _draw(
    plane: Plane, asked: Mapping[str, Any], scale: Scale, seed: int, progress: Callable[[float], None] | None
) -> xr.Dataset:
    started = now()
    xs, ys = plane.grid(scale)
    points = [(x, y, True) for y in ys for x in xs] + [(x, y, False) for x, y in plane.spots]
    rows = []
    for index, (x, y, clean) in enumerate(points):
        rows.append(_point(plane, asked, x, y, clean, scale, seed))
        if progress is not None:
            progress((index + 1) / len(points))
    shape = (len(ys), len(xs))
    grid = {name: (("y", "x"), np.array([row[name] for row in rows[: len(ys) * len(xs)]]).reshape(shape)) for name in rows[0]}
    spots = {f"spot_{name}": ("spot", np.array([row[name] for row in rows[len(ys) * len(xs) :]])) for name in rows[0]}
    where: dict[str, Any] = {"spot_x": ("spot", [x for x, _ in plane.spots]), "spot_y": ("spot", [y for _, y in plane.spots])}
    attributes: dict[str, Any] = {
        "plane": plane.id,
        "title": plane.title,
        "x": plane.x,
        "y": plane.y,
        "scale": str(scale),
        "roots": [seed],
    }
    attributes |= {"networks": NETWORKS[scale], "fraction": MARGINS[0], "started": started, "ended": now()}
    data = xr.Dataset(grid | spots | where, coords={"x": xs, "y": ys})
    return data.assign_attrs(attributes | {f"env_{name}": value for name, value in environment().items()})


def _point(
    plane: Plane, asked: Mapping[str, Any], x: float, y: float, clean: bool, scale: Scale, seed: int
) -> dict[str, float | int]:
    chosen = plane.settings(asked, x, y, clean)
    bench = Bench(chosen, seed)
    values, done, dynamics = _coverage(bench, NETWORKS[scale], projected=clean)
    found = bootstrap(values, numpy_generator(seed, Stream.BOOTSTRAP))
    law = 1 / chosen.data.views
    return {
        "margin": found.value,
        "low": found.low,
        "high": found.high,
        "excess": (found.value - law) / (1 - law),
        "done": done,
        "dynamics": dynamics,
    }


def _coverage(bench: Bench, count: int, projected: bool) -> tuple[NDArray[np.float64], float, int]:
    """Margin-0.1 coverage of `count` networks, the share that met its stopping rule, and which dynamics were used."""
    family = bench.family()
    if projected and isinstance(family, PatchNet):
        try:
            projection = Projection(bench.settings, bench.distribution)
            weight = family.init(bench.generators(Role.MEMBER, 0, count))["weight"]
            ran = run_projected(projection, projection.correlations(weight), bench.settings.train)
        except ViewraceError:  # says what makes it invalid here: the full network is always valid
            pass
        else:
            probes = bench.distribution.probes()
            ends = {"weight": projection.lift(ran.correlation, weight)}
            logits = evaluate_logits(family, ends, probes.flatten(0, 2).to(torch.float32)).unflatten(1, probes.shape[:3])
            return coverage(logits, MARGINS[0]), float(ran.done.double().mean()), PROJECTED
    networks = Lab(bench.settings, [bench.root]).members(bench, count)
    return margin(networks.views.probes), float((networks.trained.outcome == 0).double().mean()), FULL
