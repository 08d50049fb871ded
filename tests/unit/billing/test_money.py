from __future__ import annotations

import ast
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import eventrunner.billing.money
import pytest
from eventrunner.billing.money import plain, round_half_up
from hypothesis import given
from hypothesis import strategies as st

_FRACTIONS = st.fractions(min_value=-(10**20), max_value=10**20)
_DIGITS = st.integers(0, 4)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        ("0.005", 2, "0.01"),
        ("0.0049999999999999999999999999999999999", 2, "0.00"),
        ("2.675", 2, "2.68"),
        ("-0.005", 2, "-0.01"),
        ("-0.004", 2, "0.00"),
        ("1234.5", 0, "1235"),
        ("99999999999999999999999999999999999999.995", 2, "100000000000000000000000000000000000000.00"),
    ],
)
def test_halves_go_away_from_zero(value: str, digits: int, text: str) -> None:
    assert str(round_half_up(Fraction(value), digits)) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=8), _DIGITS)
def test_rounding_is_decimals_own_half_up(value: Decimal, digits: int) -> None:
    with localcontext(prec=80):
        expected = value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    assert round_half_up(Fraction(value), digits) == expected


@given(_FRACTIONS, _DIGITS)
def test_rounding_moves_by_half_a_unit_at_most(value: Fraction, digits: int) -> None:
    assert abs(Fraction(round_half_up(value, digits)) - value) <= Fraction(1, 2 * 10**digits)


@given(_FRACTIONS, _FRACTIONS, _DIGITS)
def test_rounding_keeps_the_order(first: Fraction, second: Fraction, digits: int) -> None:
    low, high = sorted((first, second))
    assert round_half_up(low, digits) <= round_half_up(high, digits)


@pytest.mark.parametrize(
    ("value", "text"), [("1E+3", "1000"), ("0.500", "0.5"), ("10", "10"), ("0E-6", "0"), ("100.00", "100")]
)
def test_plain_text_has_neither_exponent_nor_idle_zeros(value: str, text: str) -> None:
    assert plain(Decimal(value)) == text


def test_no_float_enters_billing() -> None:
    package = Path(eventrunner.billing.money.__file__).parent
    for path in package.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_float = isinstance(node, ast.Constant) and isinstance(node.value, float)
            # The one allowed look at the type is the check that refuses it.
            named = isinstance(node, ast.Name) and node.id == "float" and path.name != "plans.py"
            assert not is_float, f"{path.name}:{node.lineno}"
            assert not named, f"{path.name}:{node.lineno}"
