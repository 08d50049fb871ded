from __future__ import annotations

import re
from typing import Any

import pytest
from eventrunner.rules import RuleSyntaxError
from eventrunner.rules.nodes import Rule
from eventrunner.rules.parser import parse
from eventrunner.rules.printing import grl_text
from hypothesis import given

from tests.unit.rules.strategies import rule_around, wordy


def shape(rules: tuple[Rule, ...]) -> Any:
    """The trees without their places."""
    return [re.sub(r"at=\d+", "", repr((rule.when, rule.then))) for rule in rules]


@pytest.mark.parametrize(
    "text",
    [
        'Event.type == "a" && !(Event.data.x > 1 || Event.data["odd key"] < -2)',
        "F.a - (F.b - F.c) * (F.d + 1) == 1.5",
        "(F.a || F.b) && F.c",
        'F.list[F.list.Len() - 1].x.Contains("a\\"b\\n") != !F.y',
        "Max(1.0, F.n) >= 0.00000001",
        "F.a == nil",
        "!!F.a",
    ],
)
def test_a_condition_comes_back_as_it_was_written(text: str) -> None:
    (rule,) = parse(rule_around(text))
    assert grl_text(rule.when) == text.replace("0.00000001", "1e-08")
    assert shape(parse(rule_around(grl_text(rule.when)))) == shape((rule,))


def test_statements_come_back() -> None:
    (rule,) = parse('rule A { when true then Out.x+=1 ; Event["a"]="b"; Retract("A"); }')
    assert [grl_text(statement) for statement in rule.then] == ["Out.x += 1", 'Event["a"] = "b"', 'Retract("A")']


def test_a_chain_longer_than_pythons_stack_is_printed() -> None:
    (rule,) = parse(rule_around(" + ".join(["1"] * 1_500)))
    assert grl_text(rule.when).count("+") == 1_499


@given(wordy)
def test_what_parses_parses_to_the_same_tree_again(text: str) -> None:
    try:
        rules = parse(rule_around(text))
    except RuleSyntaxError:
        return
    again = "".join(
        f"rule {rule.name} {{ when {grl_text(rule.when)} then {'; '.join(map(grl_text, rule.then))}; }}"
        for rule in rules
    )
    assert shape(parse(again)) == shape(rules)
