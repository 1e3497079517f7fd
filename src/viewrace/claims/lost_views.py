"""Views that have lost: when a class is taken, which of its views have lost then, and what becomes of their drive.

All work on a film's Dataset, dims frame, seed, label, view (and any others in front): drive_self and drive_external as in
`viewrace.race.Split`, logit, a view's strength, and learned, by margin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

__all__ = ["TAKEN", "drives", "exponent", "from_distractors", "least_drive", "strongest", "taken"]

TAKEN = 0.05
"""A class is taken once the labels' own drive on its views is down to this fraction of its start."""


def taken(data: xr.Dataset) -> xr.DataArray:
    """(.., label) the frame in which a class is taken: the labels' own drive on it is down to TAKEN of its start; -1 if never."""
    drive = data["drive_self"].mean("view")
    reached = drive <= TAKEN * drive.isel(frame=0)
    return xr.where(reached.any("frame"), reached.argmax("frame"), -1)


def strongest(data: xr.Dataset) -> xr.DataArray:
    """(.., label, view) whether the view is its class's strongest when the class is taken; none where it never is."""
    frames = taken(data)
    best = data["logit"].isel(frame=frames.clip(min=0)).argmax("view")
    return (frames >= 0) & (best == xr.DataArray(np.arange(data.sizes["view"]), dims="view"))


def lost(data: xr.Dataset) -> xr.DataArray:
    """(.., label, view) whether the view is not learned when its class is taken."""
    frames = taken(data)
    return (frames >= 0) & ~data["learned"].isel(frame=frames.clip(min=0)).astype(bool)


def drives(data: xr.Dataset) -> xr.Dataset:
    """`self` and `external`, (.., frame, seed, group): the parts of the drive over the whole drive at the init, means over the
    views that have `lost` and those that have `won`, the strongest of their class."""
    start = (data["drive_self"] + data["drive_external"]).isel(frame=0)
    groups = xr.concat([lost(data), strongest(data)], dim="group").assign_coords(group=["lost", "won"])
    parts = {part: (data[f"drive_{part}"] / start).where(groups).mean(("label", "view")) for part in ("self", "external")}
    return xr.Dataset(parts)


def exponent(a: NDArray[Any], growth: NDArray[Any], low: float, high: float) -> float:
    """Least-squares slope of log growth in log a over low < a < high; NaN where fewer than 3 are left.

    Growth that is not positive has no logarithm and is left out.
    """
    use = (a > low) & (a < high) & (growth > 0)
    if use.sum() < 3:
        return float("nan")
    return float(np.polyfit(np.log(a[use]), np.log(growth[use]), 1)[0])


def least_drive(data: xr.Dataset) -> xr.Dataset:
    """For each network, means over its lost views: `least`, the least drive over that at the init, from the moment the class
    is taken until the view is learned or the film ends; `learned`, how many are learned by then; `at_taken`, the drive then.

    A view has lost that is not learned when its class is taken. NaN for a network in which none has.
    """
    frames = taken(data)
    drive = data["drive_self"] + data["drive_external"]
    share = drive / drive.isel(frame=0)
    index = xr.DataArray(np.arange(data.sizes["frame"]), dims="frame")
    after = (frames >= 0) & (index >= frames)
    ever = (data["learned"] & after).cumsum("frame") > 0
    losers = lost(data)
    pairs = ("label", "view")
    return xr.Dataset(
        {
            "least": share.where(after & ~ever & losers).min("frame").mean(pairs),
            "learned": ever.isel(frame=-1).where(losers).mean(pairs),
            "at_taken": share.isel(frame=frames.clip(min=0)).where(losers).mean(pairs),
        }
    )


def from_distractors(data: xr.Dataset) -> xr.DataArray:
    """(.., seed) what the examples in which a view distracts give of the lost views' drive, when their class is taken."""
    losers = lost(data)
    then = data.isel(frame=taken(data).clip(min=0))
    drive = (then["drive_self"] + then["drive_external"]).where(losers)
    return then["drive_distractors"].where(losers).sum(("label", "view")) / drive.sum(("label", "view"))
