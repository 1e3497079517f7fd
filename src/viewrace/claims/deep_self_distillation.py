"""Claim: a network taught by one like itself is at least as good as its teacher."""

from __future__ import annotations

import xarray as xr

from viewrace.claims.deep_table import DeepClaim, columns_of, difference, teachers_of
from viewrace.claims.verdict import Check, Verdict, at_least

__all__ = ["DeepSelfDistillation"]

SLACK = 0.005


class DeepSelfDistillation(DeepClaim):
    id = "deep-self-distillation"
    title = "Self-distillation on real images"
    statement = "On real images a network taught by another of the same kind is at least as accurate as its teacher."
    source = "Allen-Zhu & Li, ICLR 2023, Theorem 4 and the table of its experiments; Furlanello et al. 2018"
    protocol = (
        f"{DeepClaim.setup} Judged on each set: the accuracy of students of one member each, less that of their own teachers, "
        f"paired by experiment, is at least 0 with the whole 95% interval over experiments above {-SLACK:g}."
    )

    def judge(self, data: xr.Dataset) -> Verdict:
        generator = self._generator(data)
        checks: list[Check] = []
        for name in data["set"].values.tolist():
            gain = difference(columns_of(data, name)["self_distilled"], teachers_of(data, name), generator)
            checks.append(at_least(f"{name}: self-distilled minus its teacher", 0.0, gain, clear_of=-SLACK))
        return self._with_columns(data, checks, generator)
