from __future__ import annotations

import pytest
from eventrunner.rules import Limits, Problem, RuleSyntaxError
from eventrunner.rules.nodes import Binary, Const, Member, Method, Node, Not, Root
from eventrunner.rules.parser import parse
from eventrunner.rules.values import Int64
from hypothesis import given, settings

from tests.unit.rules.strategies import arbitrary, rule_around, wordy


def shape(node: Node) -> str:
    """The tree with all parentheses."""
    match node:
        case Binary(op=op, left=left, right=right):
            return f"({shape(left)} {op} {shape(right)})"
        case Not(operand=operand):
            return f"!{shape(operand)}"
        case Member(base=base, name=name):
            return f"{shape(base)}.{name}"
        case Method(base=base, name=name, args=args):
            return f"{shape(base)}.{name}({', '.join(map(shape, args))})"
        case Root(name=name):
            return name
        case Const(value=value):
            return str(value)
    return "?"


def condition(expression: str) -> Node:
    return parse(rule_around(expression))[0].when


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a + b * c", "(a + (b * c))"),
        ("a & b + c | d - e", "((((a & b) + c) | d) - e)"),
        ("a == b < c", "((a == b) < c)"),
        ("a || b && c == d + e", "(a || (b && (c == (d + e))))"),
        ("a - b - c", "((a - b) - c)"),
        ("!a.b.c() == 7", "(!a.b.c() == 7)"),
        ("!(a == b) && c", "(!(a == b) && c)"),
        ("!!a", "!!a"),
        ("F.n--1", "(F.n - -1)"),
        ("2*-3", "(2 * -3)"),
    ],
)
def test_operators_bind_as_in_grule(expression: str, expected: str) -> None:
    assert shape(condition(expression)) == expected


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("017", 15),
        ("0x1F", 31),
        ("- 5", -5),
        ("-9223372036854775808", -(2**63)),
        ("0x1p-2", 0.25),
        ("0x2.p10", 2048.0),
        (".5", 0.5),
        ("1.5E-3", 0.0015),
        (r'"\x41\101\u00e9\U0001F600\t"', "AAé😀\t"),
        (r"'it\'s'", "it's"),
        ('"raw\nline"', "raw\nline"),
        (r'"\xc3\xa9"', "é"),
    ],
)
def test_literals_have_gos_values(literal: str, value: object) -> None:
    node = condition(literal)
    assert isinstance(node, Const)
    assert node.value == value
    assert type(node.value) is (Int64 if isinstance(value, int) else type(value))


@pytest.mark.parametrize(
    "expression",
    [
        *("(F.o).x", '("ab").Len()', "-F.x", "-(1)", "+5", "--5", "F.rule", "F.When", "F.true", "F.e+1", "F.p+1"),
        *("!!(a)", "1 == ", "a and b", "a = b", "08", "5.", "9223372036854775808", "1e400", "F.x[", "f(,)", "f(1,)"),
        *(r'"\c"', r'"\/"', r'"\0"', r'"\ud800"', r'"\'"', '"a""b"', "'\\\"'"),
    ],
)
def test_what_grule_refuses_is_refused(expression: str) -> None:
    with pytest.raises(RuleSyntaxError):
        parse(rule_around(expression))


def test_a_rule_may_have_a_description_and_a_salience() -> None:
    (rule,) = parse(r'rule A "say \n it" salience -0x10 { when true then F.x = 1; }')
    assert (rule.description, rule.salience) == (r"say \n it", -16)


def test_an_empty_text_has_no_rules() -> None:
    assert parse(" // nothing\n") == ()


@pytest.mark.parametrize(
    "text",
    [
        "rule A { when true then }",
        "rule A { when true then F.x = 1 }",
        "rule A { when true then F.x = 1;; }",
        "rule A { when true then F.x %= 1; }",
        "rule A { when true then (F.x); }",
        "rule A { when true then 1 + 2; }",
        'rule A salience 1 "late" { when true then F.x(); }',
        "rule A salience 2147483648 { when true then F.x(); }",
        "rule 1 { when true then F.x(); }",
        "rule A { then F.x(); }",
    ],
)
def test_a_malformed_rule_is_refused(text: str) -> None:
    with pytest.raises(RuleSyntaxError):
        parse(text)


def test_a_long_chain_of_operators_is_no_nesting() -> None:
    assert len(parse(rule_around(" && ".join(["true"] * 1500)))) == 1


@pytest.mark.parametrize(
    "text", ["(" * 100 + "1" + ")" * 100, "F" + "[0]" * 100, "f(" * 100 + ")" * 100, "!" * 100 + "a"]
)
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(RuleSyntaxError, match=r"nested deeper|path of more"):
        parse(rule_around(text))


def test_source_and_rules_are_limited() -> None:
    with pytest.raises(RuleSyntaxError, match="may have 10 bytes"):
        parse("rule A { when true then F.x(); }", limits=Limits(source_bytes=10))
    with pytest.raises(RuleSyntaxError, match="more than 1 rules"):
        parse("rule A { when true then F.x(); } rule B { when true then F.x(); }", limits=Limits(rules=1))


@settings(max_examples=3_000, derandomize=True, deadline=None)
@given(arbitrary | wordy | arbitrary.map(rule_around) | wordy.map(rule_around))
def test_every_text_is_rules_or_a_syntax_error(text: str) -> None:
    problems = _problems(text)
    assert problems is None or problems
    assert all(problem.line >= 1 and problem.column >= 1 and str(problem) for problem in problems or ())


def _problems(text: str) -> tuple[Problem, ...] | None:
    """None if the text is well-formed."""
    try:
        parse(text)
    except RuleSyntaxError as error:
        return error.problems
    return None
