"""The size of an image: one number for a square, or (height, width)."""

from __future__ import annotations

from viewrace.errors import ViewraceError

__all__ = ["Size", "sides"]

Size = int | tuple[int, int]


def sides(size: Size, least: int) -> tuple[int, int]:
    """(height, width); refuses images that are smaller than `least` pixels on a side."""
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < least:
        raise ViewraceError(f"this network needs images of {least}x{least} or more, received {height}x{width}: enlarge them")
    return height, width
