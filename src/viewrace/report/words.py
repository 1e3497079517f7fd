"""Numbers as a page, a table and a terminal show them."""

from __future__ import annotations

__all__ = ["interval", "number"]

LEAST, NOISE = 0.0005, 1e-12


def number(value: float) -> str:
    """Three decimals, without a sign on zero; two digits and an exponent where these would show nothing but round-off."""
    return f"{value:.1e}" if NOISE < abs(value) < LEAST else f"{value:.3f}".replace("-0.000", "0.000")


def interval(value: float, low: float, high: float) -> str:
    """An estimate with its interval, as `0.340 [0.338, 0.342]`."""
    return f"{number(value)} [{number(low)}, {number(high)}]"
