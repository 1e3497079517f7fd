"""Claim: one network taught by the ensemble beats a network on hard labels, and keeps much of the ensemble's gain."""

from __future__ import annotations

import xarray as xr

from viewrace.claims.deep_table import DeepClaim, columns_of, difference, share_kept
from viewrace.claims.verdict import Check, Verdict, at_least

__all__ = ["DeepDistillation"]

MOST = 0.5


class DeepDistillation(DeepClaim):
    id = "deep-distillation"
    title = "Distilling a deep ensemble on real images"
    statement = (
        "On real images one network taught by an ensemble's soft labels is more accurate than one on hard labels, and keeps at "
        "least half of the ensemble's gain."
    )
    source = "Allen-Zhu & Li, ICLR 2023, Theorem 3 and the table of its experiments; Hinton, Vinyals & Dean 2015"
    protocol = (
        f"{DeepClaim.setup} Judged on each set: the students' accuracy less that of networks on hard labels, paired by "
        "experiment, is at least 0 with the whole 95% interval over experiments above 0; and the share of the ensemble's gain "
        f"that they keep is at least {MOST:g} with the interval above 0 (no verdict where some resample has no gain to keep)."
    )

    def judge(self, data: xr.Dataset) -> Verdict:
        generator = self._generator(data)
        checks: list[Check] = []
        for name in data["set"].values.tolist():
            column = columns_of(data, name)
            gain = difference(column["distilled"], column["single"], generator)
            checks.append(at_least(f"{name}: distilled minus one network", 0.0, gain, clear_of=0.0))
            checks.append(at_least(f"{name}: share of the gain kept", MOST, share_kept(column, generator), clear_of=0.0))
        return self._with_columns(data, checks, generator)
