"""Which view wins: told from the start, and the equations of the race."""

from viewrace.race.advantage import RULES, Start, log_advantage, probe_advantage, start_of
from viewrace.race.chance import (
    Calibration,
    Prediction,
    calibration_error,
    fit_calibration,
    fit_weights,
    predict,
)

__all__ = [
    "RULES",
    "Calibration",
    "Prediction",
    "Start",
    "calibration_error",
    "fit_calibration",
    "fit_weights",
    "log_advantage",
    "predict",
    "probe_advantage",
    "start_of",
]
