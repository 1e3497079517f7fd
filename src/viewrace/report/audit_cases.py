"""The confusion table of the audit: what it said of the cases whose answer is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from viewrace.report.style import COLOURS, INK

__all__ = ["audit_cases_table", "confusion"]

QUESTIONS = {"helps": "does it help?", "why": "why?", "distils": "does it distil?"}


def audit_cases_table(data: xr.Dataset, curves: Mapping[str, Any]) -> Figure:
    """A row a case: the known answer and those given, with counts over root seeds; wrong ones in red."""
    rows = confusion(data)
    made = Figure(figsize=(10.4, 0.36 * (len(rows) + 1) + 0.2), layout="constrained")
    ax = made.subplots()
    ax.set_axis_off()
    body = [[row["case"], *(f"{known}:  {said}" for known, said, _ in row["answers"]), row["numbers"]] for row in rows]
    heads = ["case", *(f"{question}  known: said" for question in QUESTIONS.values()), "gain, points; share kept"]
    drawn = ax.table(body, colLabels=heads, colWidths=[0.15, 0.17, 0.23, 0.22, 0.23], loc="center", cellLoc="left")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(9)
    for (row, column), cell in drawn.get_celld().items():
        cell.visible_edges = "B" if row == 0 else "open"
        cell.set_edgecolor("#999999")
        cell.set_height(1 / (len(rows) + 1))
        if row and 1 <= column <= len(QUESTIONS):
            right = rows[row - 1]["answers"][column - 1][2]
            cell.get_text().set_color(INK if right else COLOURS["warm"])
    return made


def confusion(data: xr.Dataset) -> list[dict[str, Any]]:
    """For each case and question: the known answer, the answers given with their counts, and whether all are right."""
    rows = []
    for case in data["case"].values.tolist():
        here = data.sel(case=case)
        answers = []
        for index in range(len(QUESTIONS)):
            known, given = str(here["known"].values[index]), Counter(here["answer"].values[:, index].tolist())
            said = ", ".join(f"{answer} {count}" for answer, count in sorted(given.items()))
            answers.append((known, said, known == "any" or set(given) == {known}))
        rows.append({"case": case, "answers": answers, "numbers": _numbers(here)})
    return rows


def _numbers(here: xr.Dataset) -> str:
    gain = 100 * here["gain"].sel(end="value").values
    share = here["share"].sel(end="value").values
    text = _range(gain, 1)
    return text if np.isnan(share).any() or here["known"].values[0] == "no" else f"{text};  {_range(share, 2)}"


def _range(values: Any, digits: int) -> str:
    low, high = (round(float(end), digits) + 0.0 for end in (min(values), max(values)))  # + 0.0: no minus before zero
    return f"{low:.{digits}f} to {high:.{digits}f}"
