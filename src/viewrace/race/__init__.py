"""Which view wins: told from the start, and the equations of the race.

Linear and gated networks are modules of their own, since their names are plain words: race.linear.logistic(...),
race.gated.Graph(...), race.gated_flow.gradient(...), race.reduction, race.routing, race.rungekutta.trajectory(...).
Projected networks are run by race.trajectory.run(...).
"""

from viewrace.race import gated, gated_flow, linear, reduction, routing, rungekutta, trajectory
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
from viewrace.race.competition import compete, lotka_volterra
from viewrace.race.meanfield import MeanField, mean_field_coverage, run_mean_field
from viewrace.race.projected import Projection
from viewrace.race.split import Split, gradient_split

__all__ = [
    "RULES",
    "Calibration",
    "MeanField",
    "Prediction",
    "Projection",
    "Split",
    "Start",
    "calibration_error",
    "choose",
    "compete",
    "fit_calibration",
    "fit_weights",
    "gated",
    "gated_flow",
    "gradient_split",
    "linear",
    "log_advantage",
    "lotka_volterra",
    "mean_field_coverage",
    "predict",
    "probe_advantage",
    "reduction",
    "routing",
    "run_mean_field",
    "rungekutta",
    "start_of",
    "trajectory",
]
