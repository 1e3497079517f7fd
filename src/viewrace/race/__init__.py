"""Which view wins: told from the start, and the equations of the race."""

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
    "gradient_split",
    "log_advantage",
    "predict",
    "probe_advantage",
    "start_of",
]
