"""Which view wins: told from the start, and the equations of the race.

Linear and gated networks are modules of their own, since their names are plain words: race.linear.logistic(...),
race.gated.Graph(...), race.gated_flow.gradient(...), race.reduction, race.routing, race.rungekutta.trajectory(...).
"""

from viewrace.race import gated, gated_flow, linear, reduction, routing, rungekutta
from viewrace.race.advantage import RULES, Start, log_advantage, probe_advantage, start_of
from viewrace.race.chance import (
    Calibration,
    Prediction,
    calibration_error,
    choose,
    fit_calibration,
    fit_weights,
    predict,
)
from viewrace.race.split import Split, gradient_split

__all__ = [
    "RULES",
    "Calibration",
    "Prediction",
    "Split",
    "Start",
    "calibration_error",
    "choose",
    "fit_calibration",
    "fit_weights",
    "gated",
    "gated_flow",
    "gradient_split",
    "linear",
    "log_advantage",
    "predict",
    "probe_advantage",
    "reduction",
    "routing",
    "rungekutta",
    "start_of",
]
