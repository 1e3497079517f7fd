"""What the terminal shows, from Datasets and JSON as they are kept."""

import io

import numpy as np
import xarray as xr
from rich.console import Console

from viewrace.screen import prediction_table
from viewrace.study.tally import Tally


def printed(*parts, width=100) -> str:
    """What a terminal of that width shows."""
    paper = Console(width=width, file=io.StringIO())
    paper.print(*parts)
    return paper.file.getvalue()


def test_a_view_is_one_more_on_the_screen_than_in_the_file_and_the_table_says_so():
    told = np.array([[0, 2]])
    chances = np.array([[[0.9, 0.05, 0.05], [0.1, 0.1, 0.8]]])
    data = xr.Dataset({"predicted": (("seed", "label"), told), "probability": (("seed", "label", "view"), chances)})
    said = printed(prediction_table(data))
    assert "1 (90)" in said
    assert "3 (80)" in said
    assert "view, from 1 (in prediction.nc from 0)" in " ".join(said.split())


def test_progress_adds_up_ends_at_one_and_follows_a_whole_that_grows():
    told: list[float] = []
    tally = Tally(4, told.append)
    for units in (1, 1):
        tally(units)
    tally.whole += 4
    for units in (2, 4, 1):
        tally(units)
    assert told == [0.25, 0.5, 0.5, 1.0, 1.0]
    Tally(1, None)(1)
