"""The race itself: which view wins, and what drives each of them."""

from viewrace.race.split import Split, gradient_split

__all__ = ["Split", "gradient_split"]
