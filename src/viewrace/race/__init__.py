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
from viewrace.race.competition import lotka_volterra, power_race
from viewrace.race.meanfield import MeanField, mean_field_coverage, run_mean_field
from viewrace.race.projected import Projection
from viewrace.race.split import Split, gradient_split
from viewrace.race.trajectory import ProjectedFilm, ProjectedRun, run_projected

__all__ = [
    "RULES",
    "Calibration",
    "MeanField",
    "Prediction",
    "ProjectedFilm",
    "ProjectedRun",
    "Projection",
    "Split",
    "Start",
    "calibration_error",
    "fit_calibration",
    "fit_weights",
    "gradient_split",
    "log_advantage",
    "lotka_volterra",
    "mean_field_coverage",
    "power_race",
    "predict",
    "probe_advantage",
    "run_mean_field",
    "run_projected",
    "start_of",
]
