"""Claim: an average of networks trained apart beats one network, and networks trained jointly as one average."""

from __future__ import annotations

import xarray as xr

from viewrace.claims.deep_table import DeepClaim, columns_of, difference
from viewrace.claims.verdict import Check, Verdict, at_least

__all__ = ["DeepEnsemble"]


class DeepEnsemble(DeepClaim):
    id = "deep-ensemble"
    title = "Deep ensembles on real images"
    statement = (
        "On real images the average of networks trained apart is more accurate than one network, and than the same networks "
        "trained jointly as one average."
    )
    source = "Allen-Zhu & Li, ICLR 2023, section 1 and the table of its experiments"
    protocol = (
        f"{DeepClaim.setup} Judged on each set, paired by experiment: the ensemble's accuracy less the mean of its members', and "
        "less that of the joint training, is at least 0 with the whole 95% interval over experiments above 0."
    )

    def judge(self, data: xr.Dataset) -> Verdict:
        generator = self._generator(data)
        checks: list[Check] = []
        for name in data["set"].values.tolist():
            column = columns_of(data, name)
            for other, label in (("single", "one network"), ("joint", "trained jointly")):
                gain = difference(column["ensemble"], column[other], generator)
                checks.append(at_least(f"{name}: ensemble minus {label}", 0.0, gain, clear_of=0.0))
        return self._with_columns(data, checks, generator)
