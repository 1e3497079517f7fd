"""What the claim `dynamics` measures, and how much of it: one Dataset a question."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from viewrace.claims.base import Scale
from viewrace.claims.dynamics_depths import (
    agreement,
    clean,
    exact,
    mean_field,
    projected,
    resized,
    shares,
    starts,
)
from viewrace.claims.lab import Lab
from viewrace.config import Settings
from viewrace.errors import ViewraceError
from viewrace.measure import margin, winner
from viewrace.train import Outcome

__all__ = ["AXES", "FEATURE_NOISE", "LEADERS", "POWERS", "STARTS", "close_up", "compared", "cost", "leaders", "where_it_fails"]

EXACT = {Scale.SMOKE: 1, Scale.QUICK: 2, Scale.FULL: 5}
EXACT_CLASSES = {Scale.SMOKE: 3, Scale.QUICK: 10, Scale.FULL: 10}
HEAD = {Scale.SMOKE: 4, Scale.QUICK: 24, Scale.FULL: 100}
POINT = {Scale.SMOKE: 2, Scale.QUICK: 5, Scale.FULL: 40}
CELL = {Scale.SMOKE: 2, Scale.QUICK: 4, Scale.FULL: 20}

AXES: dict[str, tuple[float, ...]] = {"net.init": (0.02, 0.03, 0.1, 0.2, 0.3), "net.q": (3, 4, 5), "data.views": (2, 3, 4)}
"""Along which coverage is compared, each alone around the settings."""
FEATURE_NOISE = (0.0, 0.05, 0.1, 0.2)
"""Along which winners and coverage are compared, not judged."""
INITS = (0.03, 0.05, 0.1)
AMPLITUDES = (0.3, 0.45, 0.6, 0.75, 0.9)
"""The map of where mean-field races fail: distracting views of amplitude uniform in [a / 2, a], without noise; by
projected networks, or full ones where those are refused. At smoke every second of the one, the first of the other."""
POWERS = (2, 4)
STARTS = ("growth", "raw")
LEADERS = ("start", "network", "linear", "power")


def cost(scale: Scale) -> float:
    """Networks trained for one root seed."""
    return HEAD[scale] + POINT[scale] * (sum(len(values) - 1 for values in AXES.values()) + len(FEATURE_NOISE) - 1)


def close_up(lab: Lab, scale: Scale) -> xr.Dataset:
    """(root, close): projected networks beside full ones that are integrated closely; and the first of them along its run."""
    settings = resized(clean(lab.settings), classes=EXACT_CLASSES[scale])
    found = [[exact(lab.bench(root, settings), seed) for seed in range(EXACT[scale])] for root in lab.roots]
    names = ("deviation", "trained")
    data = {name: (("root", "close"), np.array([[one[name] for one in row] for row in found])) for name in names}
    film: dict[str, Any] = {"film_time": ("step", found[0][0]["time"])}
    film |= {f"film_{kind}": (("step", "class_of_film", "view"), found[0][0][kind]) for kind in ("full", "projected")}
    return xr.Dataset(data | film, coords={"root": list(lab.roots)})


def _points(settings: Settings) -> Iterator[tuple[str, float, Settings]]:
    yield "as set", 0.0, settings
    for axis, values in AXES.items():
        for value in values:
            yield axis, value, _at(settings, axis, value)
    for value in FEATURE_NOISE:
        yield "data.feature_noise", value, _at(settings, "data.feature_noise", value)


def _at(settings: Settings, axis: str, value: float) -> Settings:
    group, name = axis.split(".")
    if getattr(getattr(settings, group), name) == value:
        return settings
    if axis == "data.views":
        return resized(settings, views=int(value))
    return settings.replace(**{axis: int(value) if axis == "net.q" else value})


def compared(lab: Lab, scale: Scale) -> xr.Dataset:
    """(network): full networks as they are trained, mean-field races from their starts, and the same without noise, projected."""
    rows: list[dict[str, Any]] = []
    for axis, value, settings in _points(lab.settings):
        count = HEAD[scale] if settings == lab.settings else POINT[scale]
        for root in lab.roots:
            rows += [{"axis": axis, "value": float(value), "at": root} | row for row in _networks(lab, settings, root, count)]
    return xr.Dataset({name: ("network", np.array([row[name] for row in rows])) for name in rows[0]})


def _networks(lab: Lab, settings: Settings, root: int, count: int) -> list[dict[str, Any]]:
    bench = lab.bench(root, settings)
    networks = lab.members(bench, count)
    columns = {"full": margin(networks.views.probes), "outcome": networks.trained.outcome.numpy()}
    for name, start in starts(bench, count).items():
        won, covered = mean_field(bench, start)
        columns |= {f"{name}_winners": agreement(networks, won), f"{name}_coverage": covered}
    try:
        columns["projected"] = margin(projected(lab.bench(root, clean(settings)), count).probes)
    except ViewraceError:  # the init is beyond what projected networks start from
        columns["projected"] = np.full(count, np.nan)
    return [{name: column[seed] for name, column in columns.items()} for seed in range(count)]


def where_it_fails(lab: Lab, scale: Scale) -> xr.Dataset:
    """(amplitude, init, cell): mean-field races beside networks without noise, far from the settings."""
    names = ("map_gap", "map_winners", "map_done")
    amplitudes, inits = (AMPLITUDES[::2], INITS[:1]) if scale is Scale.SMOKE else (AMPLITUDES, INITS)
    cells = np.stack([_cell(lab, scale, amplitude, init) for amplitude in amplitudes for init in inits], axis=1)
    columns = cells.reshape(len(names), len(amplitudes), len(inits), -1)
    dims = ("amplitude", "init", "cell")
    return xr.Dataset(
        {name: (dims, column) for name, column in zip(names, columns, strict=True)},
        {"amplitude": list(amplitudes), "init": list(inits)},
    )


def _cell(lab: Lab, scale: Scale, amplitude: float, init: float) -> NDArray[np.float64]:
    """(measure, network) coverage by mean field less the network's, agreement of winners, whether it met its rule."""
    settings = clean(lab.settings, **{"data.distractor_amplitude": (amplitude / 2, amplitude), "net.init": init})
    found = []
    for root in lab.roots:
        bench = lab.bench(root, settings)
        try:
            _, _, probes, done = projected(bench, CELL[scale])
        except ViewraceError:  # neurons answer to views of other classes, beyond the polynomial part
            networks = lab.members(bench, CELL[scale])
            probes, done = networks.views.probes, networks.trained.outcome == int(Outcome.CONVERGED)
        won, covered = mean_field(bench, starts(bench, CELL[scale])["raw"])
        found.append([covered - margin(probes), (winner(probes) == won).mean(axis=1), done.double().numpy()])
    return np.concatenate(found, axis=1)


def leaders(lab: Lab, scale: Scale) -> xr.Dataset:
    """(q, root, seed): the leader's share of a class's correlations, mean over classes, of networks and of both forms."""
    found = [[shares(lab.bench(root, clean(lab.settings, **{"net.q": q})), POINT[scale]) for root in lab.roots] for q in POWERS]
    columns = {
        f"leader_{name}": (("q", "root", "seed"), np.array([[one[name].mean(axis=1) for one in row] for row in found]))
        for name in LEADERS
    }
    return xr.Dataset(columns, coords={"q": list(POWERS), "root": list(lab.roots)})
