"""Kinds, operators, methods and functions; every expectation was checked against Grule v1.20.4."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.rules.support import execute, holds, value_of

FACT: dict[str, Any] = {
    **{"n": 7, "m": -2.5, "z": 0, "s": "abc", "u": "Äb", "t": True, "nul": None},
    **{"a": [1, "x", None, {"k": 3}], "o": {"y": 1}},
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("7 / 2", 3.5),
        ("7 / 7", 1.0),
        ("9223372036854775807 + 1", -(2**63)),
        ("7 % -3", 1),
        ("-7 % 3", -1),
        ("6 & 3 | 8", 10),
        ("F.n % 2", "error"),
        ("5 % 0", "error"),
        ("F.n & 1", "error"),
        ('"x" + F.n', "x7.000000"),
        ('"x" + 7', "x7"),
        ('F.n + "x"', "7.000000x"),
        ('"x" + true', "xtrue"),
        ('true + "x"', "error"),
        ('"" + 5 / 0', "+Inf"),
        ('"" + F.nul', "error"),
        ("F.t + 1", "error"),
        ("F.s - 1", "error"),
        ('"a" == 1', False),
        ('"a" != 1', False),
        ("F.t == 1", False),
        ("1 == F.t", "error"),
        ("F.n == F.s", "error"),
        ("F.nul == F.nul", "error"),
        ("F.a == F.a", "error"),
        ("F.n == nil", "error"),
        ("F.n == 7", True),
        ("1 == 1.0", True),
        ('"a" < "b"', True),
        ('"a" < 1', "error"),
        ("true < false", "error"),
        ("!F.n == 7", True),
        ("!F.t", False),
        ("1 < 2 == true", True),
        ("false && F.missing", False),
        ("true || F.missing", True),
        ("F.missing && false", "error"),
        ("5 || true", "error"),
        ("true && 5", "error"),
    ],
)
def test_operators_follow_grule(expression: str, value: object) -> None:
    result = value_of(expression, FACT)
    assert result == value
    assert isinstance(result, bool) == isinstance(value, bool)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("F.o.y", 1),
        ('F["o"].y', 1),
        ("F.a[0]", 1),
        ("F.a[3].k", 3),
        ('F.a["x".Len()]', "x"),
        ("F.missing", "error"),
        ("F.n.x", "error"),
        ("F.nul.x", "error"),
        ("F.a[9]", "error"),
        ("F.a[-1]", "error"),
        ("F.a[0.0]", "error"),
        ("F.a[F.z]", "error"),
        ('F.a["0"]', "error"),
        ("F.o[1]", "error"),
        ("F.s[0]", "error"),
        ("G", "error"),
    ],
)
def test_paths_need_every_part(path: str, value: object) -> None:
    assert value_of(path, FACT) == value


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("F.u.Len()", 3),
        ("F.s.ToUpper()", "ABC"),
        ('"ß".ToUpper()', "ß"),
        ('" a\u00a0".Trim()', "a"),
        ('"aÄb".Index("b")', 3),
        ('"abab".LastIndex("ab")', 2),
        ('"abc".Index("x")', -1),
        ('"abc".Count("")', 4),
        ('"a".Compare("b")', -1),
        ('"ab".Repeat(2.9)', "abab"),
        ('"ab".Replace("", "-")', "-a-b-"),
        ('"a,b".Split(",")[1]', "b"),
        ('F.s.Split("b")[0]', "error"),
        ('F.s.Split("b").Len()', 2),
        ('ContainsStr(F.s.Split("b"), "c")', True),
        ('F.s.In("x", "abc", 1)', True),
        ('F.s.In(1, "abc")', "error"),
        ("F.s.In()", False),
        ("F.s.Contains(1)", "error"),
        ("F.s.Len(1)", "error"),
        ("F.n.Len()", "error"),
        ("F.o.Len()", 1),
        ("F.a.Append(5).Len()", 5),
        ("F.a.Append(F.nul)", "error"),
        ("F.a.Keys()", "error"),
        (r'F.s.MatchString("^a.c$")', True),
        (r'"é".MatchString("^\\w$")', False),
        (r'"a\n".MatchString("a$")', False),
        (r'F.s.MatchString("(?=a)")', "error"),
        (r'F.s.MatchString("(a)\\1")', "error"),
    ],
)
def test_methods_follow_go(call: str, value: object) -> None:
    assert value_of(call, FACT) == value


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("Max(1.0, F.n)", 7),
        ("Max()", 0),
        ("Max(1, 2)", "error"),
        ("Abs(F.m)", 2.5),
        ("Abs(-5)", "error"),
        ("Pow10(2)", 100),
        ("Pow10(F.n)", "error"),
        ("Pow(2.0, 0.5)", math.sqrt(2)),
        ("Round(F.m)", -3),
        ("RoundToEven(F.m)", -2),
        ("IsInf(5/0, 1)", True),
        ("IsNaN(0/0)", True),
        ("Float64frombits(Float64bits(1.5))", 1.5),
        ("IsZero(F.z)", True),
        ('IsZero("")', True),
        ("IsZero(F.nul)", "error"),
        ("IsNil(F.a)", False),
        ("IsNil(F.nul)", "error"),
        ("IsNil(F.n)", "error"),
        ('StringContains(F.s, "b")', True),
        ("Nothing()", "error"),
        ("GetTimeYear(MakeTime(2024, 14, 1, 0, 0, 0))", 2025),
        ('TimeFormat(MakeTime(2024, 2, 3, 14, 5, 6), "Mon Jan _2 03:04:05PM 2006")', "Sat Feb  3 02:05:06PM 2024"),
        ("IsTimeBefore(MakeTime(2024,1,1,0,0,0), MakeTime(2024,1,1,0,0,1))", True),
        ("MakeTime(2024,1,1,0,0,0).Year()", 2024),
        ("MakeTime(F.n,1,1,0,0,0)", "error"),
        ("MakeTime(2024,1,3,0,0,0).Sub(MakeTime(2024,1,2,0,0,1)) / 1000000000", 86_399.0),
        ("MakeTime(2024,1,2,0,0,0).Add(MakeTime(2024,1,3,0,0,0).Sub(MakeTime(2024,1,2,0,0,0))).Day()", 3),
        ("MakeTime(2024,1,2,0,0,0).Add(5)", "error"),
        ("MakeTime(2024,1,2,0,0,0).UTC() == MakeTime(2024,1,2,0,0,0)", False),
        ("MakeTime(2024,1,2,0,0,0).UTC().Equal(MakeTime(2024,1,2,0,0,0))", True),
        ("MakeTime(1,1,1,0,0,0).Year()", 1),
        ('TimeFormat(MakeTime(2024, 2, 3, 14, 5, 6), "_2 _2006")', " 3 _2024"),
        ("J0(1.0)", 0.7651976865579666),
        ("J1(0.0)", 0),
        ("Jn(50, 2.5)", 2.2341702499526e-60),
        ("Jn(50, 60.0)", -0.13798273148535212),
        ("Jn(-3, 2.5)", -0.216600391),
        ("Jn(10001, 1.0)", "error"),
        ("Cosh(710.0) > 1e300", True),
    ],
)
def test_functions_take_go_kinds_without_conversion(call: str, value: object) -> None:
    result = value_of(call, FACT)
    assert result == pytest.approx(value) if isinstance(value, float) else result == value


@pytest.mark.parametrize(
    ("layout", "value", "text"),
    [
        ("%v %v", "F.n", "7 %!v(MISSING)"),
        ("%d", "F.n", "%!d(float64=7)"),
        ("%05.1f|%[1]g", "F.m", "-02.5|-2.5"),
        ("%+d|%[1]x|%#[1]x|%[1]b", "5", "+5|5|0x5|101"),
        ("%v|%q|%x|%10s|%-5.2s|", '""', "|%!q(MISSING)|%!x(MISSING)|%!s(MISSING)|%!s(MISSING)|"),
        ("%q", "F.u", '"Äb"'),
        ("%+q", "F.u", '"\\u00c4b"'),
        ("%v", "F.a", "[1 x <nil> map[k:3]]"),
        ("%#v", "F.a", '[]interface {}{1, "x", interface {}(nil), map[string]interface {}{"k":3}}'),
        ("%T", "F.o", "map[string]interface {}"),
        ("%v", "MakeTime(2024,2,1,0,0,0).Month()", "February"),
        ("%v", "MakeTime(2024,1,2,0,0,0).Sub(MakeTime(2024,1,1,22,30,1))", "1h29m59s"),
        ("%x", "1.5", "0x1.8p+00"),
        ("%b", "1.0", "4503599627370496p-52"),
        ("%", "1", "%!(NOVERB)%!(EXTRA int64=1)"),
        ("x", "F.t", "x%!(EXTRA bool=true)"),
        ("%[2]d", "1", "%!d(BADINDEX)"),
        ("%*d", "5", "%!d(MISSING)"),
        ("%.1f|%%", "F.m", "-2.5|%"),
        ("%6.2f|", "5 / 0", "  +Inf|"),
    ],
)
def test_log_format_writes_what_go_writes(layout: str, value: str, text: str) -> None:
    outcome = execute(f'rule A {{ when true then LogFormat("{layout}", {value}); Retract("A"); }}', {"F": FACT})
    assert outcome.logs == [text]


def test_a_value_keeps_the_kind_it_was_assigned_with() -> None:
    assert value_of("(7) % 2") == 1
    assert holds("F.n > 6.9 && 6.9 < F.n && F.n != 8", FACT)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_of_facts_compute_as_floats(left: float, right: float) -> None:
    fact = {"a": left, "b": right}
    assert value_of("F.a + F.b", fact) == left + right
    assert value_of("F.a * F.b", fact) == left * right
    assert holds("F.a < F.b", fact) == (left < right)


@given(st.integers(-(2**70), 2**70), st.integers(-(2**52), 2**52))
def test_large_integers_of_facts_compare_as_floats(number: int, constant: int) -> None:
    assert holds(f"F.a > {constant}", {"a": number}) == (float(number) > float(constant))
    assert holds(f"F.a == {constant}", {"a": number}) == (float(number) == float(constant))
