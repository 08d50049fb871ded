"""An explanation says what `evaluate` does, and why."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from eventrunner.rules import Explanation, compile_rules, explain
from eventrunner.rules.explain import MAX_FIRINGS, Part
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.rules.support import FakeEvent


def explained(text: str, data: Any = None, tenant: dict[str, Any] | None = None) -> Explanation:
    event = FakeEvent(msgspec.json.encode(data))
    explanation = explain(compile_rules(text, name="a.grl"), event, tenant or {})
    assert explanation.verdict == compile_rules(text, name="a.grl").evaluate(event, tenant or {})
    return explanation


def part(text: str, data: Any = None, tenant: dict[str, Any] | None = None) -> Part:
    return explained(f'rule A {{ when {text} then Retract("A"); }}', data, tenant).conditions[0].when


def flat(item: Part) -> dict[str, Any]:
    """Each part by its text: its value, or its error."""
    own = {item.text: item.error or item.value}
    for inner in item.parts:
        own |= flat(inner)
    return own


def test_each_part_of_a_condition_has_its_value() -> None:
    when = part('Event.type == "order.placed" && Event.data.a + 2 > 10 && !Event.data.b', {"a": 7, "b": False})
    assert flat(when) == {
        'Event.type == "order.placed" && Event.data.a + 2 > 10 && !Event.data.b': False,
        'Event.type == "order.placed"': True,
        "Event.type": "order.placed",
        "Event.data.a + 2 > 10": False,
        "Event.data.a": 7,
        "!Event.data.b": True,
        "Event.data.b": False,
    }
    assert [item.needed for item in when.parts] == [True, True, False]


def test_what_cannot_be_evaluated_says_why_and_guesses_what_was_meant() -> None:
    when = part('Event.data.custmer.country == "C"', {"customer": {"country": "C"}})
    assert when.error == "there is no field custmer"
    assert when.parts[0].error == "there is no field custmer; did you mean customer?"
    assert "did you mean country?" in part('Event.data.c.contry == "C"', {"c": {"country": 1}}).parts[0].error
    assert part("Event.data.a < 1", {"a": "x"}).error
    assert part("Event.data.list[Event.data.i].x > 0", {"list": [{"x": 1}], "i": 0}).parts[0].error


def test_an_alternative_that_decides_makes_the_others_unneeded() -> None:
    when = part("Event.data.a || Event.data.b || Event.data.c", {"a": False, "b": True})
    assert [(item.text, item.needed) for item in when.parts] == [
        ("Event.data.a", True),
        ("Event.data.b", True),
        ("Event.data.c", False),
    ]


def test_values_have_their_kind_and_long_ones_are_cut() -> None:
    kinds = {item.text: item.kind for item in part("Event.data.n == Event.data.s.Len()", {"n": 1, "s": "x"}).parts}
    assert kinds == {"Event.data.n": "a number", "Event.data.s.Len()": "an integer"}
    assert len(part('Event.data.s == "a"', {"s": "x" * 10_000}).parts[0].value) < 500


def test_a_firing_says_what_each_statement_did() -> None:
    explanation = explained(
        'rule A salience 3 { when Event.data.n > 1 then Out.x = Event.data.n * 2; Event.subject = "s"; Emit("e"); '
        'Tag("k", 1); RouteTo("r"); Log("l"); Event.data.n = 0; Drop("d"); Retract("A"); Retract("None"); }'
        'rule B { when Event.subject == "s" then Event.data.gone = Event.data.nothing; Complete(); }'
        "rule C { when Event.data.n < 10 then Complete(); }",
        {"n": 5, "gone": 1, "nothing": None},
    )
    first, second = explanation.firings
    assert (first.cycle, first.rule, first.others) == (1, "A", ["C"])
    assert [trace.effect for trace in first.statements] == [
        {"value": 10},
        {"value": "s"},
        {"emitted": {"type": "e", "data": {"x": 10}}},
        {"tags": {"k": "1"}},
        {"route": "r"},
        {"log": "l"},
        {"value": 0},
        {"dropped": "d"},
        {"retracted": "A"},
        {"retracted": None, "unknown": "None"},
    ]
    assert (second.cycle, second.rule) == (2, "B")
    assert [trace.effect for trace in second.statements] == [{"removed": True}, {"complete": True}]
    assert explanation.end == "Complete() ended the rules"
    assert [condition.holds for condition in explanation.conditions] == [True, False, True]


def test_a_statement_that_fails_is_named_and_ends_the_rules() -> None:
    explanation = explained('rule A { when true then Out.x = 1; Out.y = Event.data.none; Emit("e"); }', {})
    assert [trace.error for trace in explanation.firings[0].statements] == ["", "there is no field none"]
    assert explanation.end == "rule A failed: there is no field none"


def test_nothing_that_matches_is_said() -> None:
    assert explained("rule A { when false then Complete(); }").end == "no rule matches"
    assert explained('rule A { when true then Retract("A"); }').end == "no further rule matches"


def test_rules_without_end_are_explained_up_to_a_limit() -> None:
    explanation = explained("rule A { when true then Out.x = 1; }")
    assert len(explanation.firings) == MAX_FIRINGS
    assert explanation.not_shown == 5_000 - MAX_FIRINGS
    assert "does it retract itself?" in explanation.end


def test_a_condition_of_many_parts_is_explained() -> None:
    assert part(" && ".join(["Event.data.a > 0"] * 1_000), {"a": 1}).value is True
    assert part(" + ".join(["Event.data.a"] * 1_000) + " > 0", {"a": 1}).value is True


@pytest.mark.parametrize("data", [b"", b"\xff", b"[1]", b"7"])
def test_an_event_without_a_json_object_is_explained(data: bytes) -> None:
    rules = compile_rules("rule A { when Event.data.x == 1 then Complete(); }")
    explanation = explain(rules, FakeEvent(data), {})
    assert explanation.verdict is None
    assert explanation.conditions[0].when.error


_VALUES = st.sampled_from([0, 1, 2.5, "a", "", True, None, [1], {"x": 1}])
_TERMS = st.sampled_from(
    ["Event.data.a", "Event.data.b", "Event.data.c.x", "Event.subject", "1", '"a"', "Out.n", "nil"]
)
_TESTS = st.builds(lambda a, op, b: f"{a} {op} {b}", _TERMS, st.sampled_from(["==", "!=", "<", ">=", "+"]), _TERMS)
_CONDITIONS = st.recursive(
    _TESTS, lambda x: st.builds(lambda a, op, b: f"({a} {op} {b})", x, st.sampled_from(["&&", "||"]), x)
)
_STATEMENTS = st.sampled_from(
    [
        "Out.n = 1",
        "Event.data.a = Event.data.b",
        'Event.subject = "a"',
        'Emit("e")',
        'Tag("t", Event.data.a)',
        "Complete()",
    ]
)


@given(st.lists(st.tuples(_CONDITIONS, _STATEMENTS), min_size=1, max_size=4), _VALUES, _VALUES)
def test_an_explanation_comes_to_what_evaluation_comes_to(rules: list[tuple[str, str]], a: Any, b: Any) -> None:
    text = "".join(
        f'rule R{number} {{ when {when} then {then}; Retract("R{number}"); }}'
        for number, (when, then) in enumerate(rules)
    )
    explanation = explained(text, {"a": a, "b": b, "c": {"x": a}})
    fired = explanation.verdict.fired if explanation.verdict else ()
    shown = [firing.rule for firing in explanation.firings]
    assert shown[: len(fired)] == list(fired)
