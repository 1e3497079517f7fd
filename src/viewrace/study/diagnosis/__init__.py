"""Why does an experiment show no race: regime, causes in order of size, and what to change."""

from viewrace.study.diagnosis.diagnose import DIAGNOSIS, Diagnosis, diagnose
from viewrace.study.diagnosis.lines import Line, Rung

__all__ = ["DIAGNOSIS", "Diagnosis", "Line", "Rung", "diagnose"]
