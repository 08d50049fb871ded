"""Exact arithmetic on amounts. Nothing here is a float, and each number is rounded in one place only."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

__all__ = ["plain", "round_half_up"]


def round_half_up(value: Fraction, digits: int) -> Decimal:
    """The decimal of so many digits that is nearest; a half goes away from zero."""
    scaled = abs(value) * 10**digits
    units = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    # Built of digits, because Decimal's own arithmetic rounds to the precision of its context.
    return Decimal((int(value < 0 and units > 0), tuple(map(int, str(units))), -digits))


def plain(value: Decimal) -> str:
    """Without an exponent and without zeros at the end that say nothing: for quantities and unit prices."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
