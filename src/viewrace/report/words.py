"""Numbers as a page, a table and a terminal show them."""

from __future__ import annotations

__all__ = ["interval", "number"]

LEAST = 0.0005


def number(value: float) -> str:
    """Three decimals, without a sign on zero; two digits and an exponent where these would show nothing."""
    return f"{value:.1e}" if 0 < abs(value) < LEAST else f"{value + 0.0:.3f}"


def interval(value: float, low: float, high: float) -> str:
    """An estimate with its interval, as `0.340 [0.338, 0.342]`."""
    return f"{number(value)} [{number(low)}, {number(high)}]"
