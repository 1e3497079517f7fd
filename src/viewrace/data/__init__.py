"""Where views come from: sources of views, the patch and the flat layout, and examples with known ground truth."""

from viewrace.data.check import DataReport, check
from viewrace.data.distribution import Distribution
from viewrace.data.examples import Examples
from viewrace.data.stored import mapped

__all__ = ["DataReport", "Distribution", "Examples", "check", "mapped"]
