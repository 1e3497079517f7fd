"""How far a run is: work done, added up and told as a fraction of the whole."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Tally"]


class Tally:
    """Called with units of work done, tells `progress` the fraction of `whole` units, at most 1; `whole` may grow."""

    def __init__(self, whole: float, progress: Callable[[float], None] | None):
        self.whole, self.done = whole, 0.0
        self.progress = progress or (lambda fraction: None)

    def __call__(self, units: float) -> None:
        self.done += units
        self.progress(min(self.done / self.whole, 1.0))
