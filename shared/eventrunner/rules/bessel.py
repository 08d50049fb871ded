"""Bessel functions of the first kind and whole order, as accurate as Go's.

Abramowitz and Stegun, Handbook of Mathematical Functions, 9.1.10 (series), 9.1.27 (recurrence) and 9.2.5 (large x).
"""

from __future__ import annotations

import math

__all__ = ["MAX_ORDER", "bessel"]

MAX_ORDER = 10_000
"""Orders are counted through one by one."""
_FAR = 30.0
"""From here on the expansion for large x has all digits, for the orders 0 and 1."""
_TINY = 1e-300


def bessel(order: int, x: float) -> float:
    if math.isnan(x):
        return x
    if math.isinf(x):
        return 0.0
    size = abs(order)
    value = _of_positive(size, abs(x))
    return -value if size % 2 and (order < 0) != (x < 0) else value


def _of_positive(order: int, x: float) -> float:
    if x * x <= 4 * (order + 1):
        return _series(order, x)
    if order < 2 and x > _FAR:
        return _far(order, x)
    if order < x and x > _FAR:
        return _forwards(order, x)
    return _backwards(order, x)


def _series(order: int, x: float) -> float:
    term = 1.0
    for factor in range(1, order + 1):
        term *= x / 2 / factor
        if not term:
            return 0.0
    total, number = term, 0
    while abs(term) > abs(total) * 1e-18:
        number += 1
        term *= -x * x / (4 * number * (order + number))
        total += term
    return total


def _far(order: int, x: float) -> float:
    even, odd = 1.0, 0.0
    term, number = 1.0, 0
    while abs(term) > 1e-18:
        number += 1
        term *= (4 * order * order - (2 * number - 1) ** 2) / (number * 8 * x)
        # The signs go + + - - from the first term on.
        signed = -term if number % 4 > 1 else term
        if number % 2:
            odd += signed
        else:
            even += signed
    # The cosine and sine of x - order * pi/2 - pi/4, without a subtraction that would cost digits of a large x.
    cosine, sine = math.cos(x) + math.sin(x), math.sin(x) - math.cos(x)
    if order:
        cosine, sine = sine, -cosine
    return (even * cosine - odd * sine) / math.sqrt(math.pi) / math.sqrt(x)


def _forwards(order: int, x: float) -> float:
    before, value = _far(0, x), _far(1, x)
    if not order:
        return before
    for number in range(1, order):
        before, value = value, 2 * number / x * value - before
    return value


def _backwards(order: int, x: float) -> float:
    """Miller's algorithm: down from an order of which the value does not matter, to a sum that is known to be 1."""
    highest = 2 * ((max(order, int(x)) + 30 + int(15 * math.sqrt(max(order, x)))) // 2)
    above, value, total, wanted = 0.0, _TINY, 0.0, 0.0
    for number in range(highest, 0, -1):
        above, value = value, 2 * number / x * value - above
        if abs(value) > 1e200:
            above, value, total, wanted = (item * 1e-200 for item in (above, value, total, wanted))
        if number - 1 == order:
            wanted = value
        if number % 2 and number > 1:
            total += 2 * value
    return wanted / (total + value)
