"""Results to figures and one page. Reads Datasets and plain verdicts only; imports no torch."""

from viewrace.report.audit import render_audit, write_audit
from viewrace.report.diagnosis import write_diagnosis_figure
from viewrace.report.figures import figures_of
from viewrace.report.page import write_report

__all__ = ["figures_of", "render_audit", "write_audit", "write_diagnosis_figure", "write_report"]
