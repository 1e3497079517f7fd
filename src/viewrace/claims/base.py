"""What a claim is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

import numpy as np
import xarray as xr

from viewrace.claims.lab import Lab
from viewrace.claims.verdict import Check, Verdict
from viewrace.config import Settings
from viewrace.measure import Estimate
from viewrace.streams import Stream, numpy_generator
from viewrace.train import Outcome

__all__ = ["Claim", "Scale", "outcome_flags"]


class Scale(StrEnum):
    """smoke: seconds, for tests. quick: minutes, the default. full: for publication."""

    SMOKE = "smoke"
    QUICK = "quick"
    FULL = "full"


class Claim(ABC):
    """A statement of the theory and how it is put to the test.

    Everything that could be tuned to a verdict (number of networks, thresholds, stopping) is a constant of the class or a
    setting of the preset, there before the run.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    statement: ClassVar[str]
    source: ClassVar[str]
    protocol: ClassVar[str]
    by_default: ClassVar[bool] = True
    """Whether a run that names no claim runs it; the others are run by name, or all with `all`."""
    by_root: ClassVar[bool] = False
    """Whether what it measures under one root seed depends on no other, so that root seeds can be run side by side: `run` of
    labs of one root each, joined, gives the same Dataset."""

    def applies(self, settings: Settings) -> str | None:
        """Why this claim says nothing about these settings; None where it does."""
        return None

    @abstractmethod
    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        """Size of the run in units of one network's training, for the progress bar."""

    @abstractmethod
    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        """Train and measure; judges nothing."""

    @staticmethod
    def join(parts: Sequence[xr.Dataset]) -> xr.Dataset:
        """One Dataset from those of single root seeds, in their order; what has no axis `root` is that of the first."""
        names = [name for name in parts[0].data_vars if "root" in parts[0][name].dims]
        held = [part[names] for part in parts]
        joined = xr.concat(held, dim="root", data_vars="minimal", coords="minimal", compat="override", join="override")
        return parts[0].drop_vars([*names, "root"]).merge(joined)

    @abstractmethod
    def judge(self, data: xr.Dataset) -> Verdict:
        """Hold the measurements against the prediction; trains nothing. Needs the Dataset alone."""

    def _verdict(
        self,
        data: xr.Dataset,
        checks: list[Check],
        curves: dict[str, list[float]] | None = None,
        measures: dict[str, Estimate] | None = None,
    ) -> Verdict:
        flags = outcome_flags(data)
        return Verdict(self.id, self.statement, self.source, tuple(checks), flags, curves or {}, measures or {})

    @staticmethod
    def _generator(data: xr.Dataset) -> np.random.Generator:
        return numpy_generator(int(data["root"].values.min()), Stream.BOOTSTRAP)


def outcome_flags(data: xr.Dataset) -> tuple[str, ...]:
    """Warnings that go with a verdict: seeds that did not converge, and measures that do not vary where seeds do."""
    flags = []
    for name in data.data_vars:
        if not str(name).startswith("outcome"):
            continue
        values = data[name].values.ravel()
        for group in Outcome:
            count = int((values == int(group)).sum())
            if group is not Outcome.CONVERGED and count:
                flags.append(f"{count} of {values.size} {group.label} ({str(name).removeprefix('outcome_')})")
    if "winner" in data and data.sizes["seed"] > 1 and bool((data["winner"] == data["winner"].isel(seed=0)).all()):
        flags.append("all seeds have the same winners: are they one network?")
    return tuple(flags)
