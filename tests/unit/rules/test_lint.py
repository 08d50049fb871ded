"""Warnings: what they find, where they point, and that they are never wrong."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from eventrunner.rules import Limits, ProblemKind, RuleSyntaxError, compile_rules, warnings_of
from eventrunner.rules.lint import findings
from hypothesis import HealthCheck, given, settings
from strategies_grl import chains, requests

from tests.unit.rules.support import FakeEvent
from tests.unit.rules.test_agreement import on_events

ROOT = Path(__file__).parents[3]


def warnings(text: str) -> list[str]:
    return [problem.message for problem in warnings_of(compile_rules(text).rules, text, "a.grl")]


def condition(expression: str) -> list[str]:
    return warnings(f'rule A {{ when {expression} then Retract("A"); }}')


def statement(text: str) -> list[str]:
    return warnings(f'rule A {{ when true then {text} Retract("A"); }}')


def test_a_warning_has_a_place_a_caret_and_a_hint() -> None:
    text = 'rule A {\n  when Event.data.x == nil\n  then Retract("A");\n}'
    (warning,) = warnings_of(compile_rules(text).rules, text, "a.grl")
    assert warning.kind is ProblemKind.WARNING
    assert str(warning) == (
        "a.grl:2:24: warning: nil has no value: whatever it is compared with or assigned to, that fails\n"
        "      when Event.data.x == nil\n"
        "                           ^\n"
        "    hint: a condition on a missing field does not match; IsZero tells an empty string or zero"
    )


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("Event.data.x == nil", "nil has no value"),
        ("nil != Event.data.x", "nil has no value"),
        ("IsNil(nil)", "nil has no value"),
        ("IsNil(Event.data.x)", "IsNil is never true"),
        ("IsNil(Event.type)", "IsNil fails"),
        ("Abs(-5) > 3.0", "Abs takes a float here, not an integer (write -5.0)"),
        ("Max(1, Event.data.x) > 3.0", "Max takes a float here, not an integer (write 1.0)"),
        ("Pow10(2.0) > 3.0", "Pow10 takes an integer here, not a number"),
        ("Pow(2.0) > 3.0", "Pow takes 2 arguments, not 1"),
        ("StringContains(Event.data.x, 5)", "StringContains takes a string here, not an integer"),
        ("GetTimeYear(Event.time) > 2000", "GetTimeYear takes a time here, not a string"),
        ('GetTimeYear("2026-01-01") > 2000', "GetTimeYear takes a time here, not a string"),
        ("ContainsStr(Event.data.list.Len(), Event.type)", "ContainsStr takes a Split here, not an integer"),
        ("Event.data.x.Contains(5)", "Contains takes a string here, not an integer"),
        ("Event.data.x.Len(1) > 0", "Len takes no arguments, not 1"),
        ("Event.data.x.In(1, 2)", "In takes strings"),
        ("Event.type.Append(1).Len() > 1", "a string has no method Append"),
        ("Event.type.Year() > 1", "a string has no method Year"),
        ("Event.type.x == 1", "a string has no fields"),
        ("Event.type[0] == 1", "a string has no elements"),
        ("Event.data.list[-1] == 1", "an index counts from 0"),
        ("Event.data.list[0.0] == 1", "an index of an array is an integer"),
        ("Event.type == 5", "a string == an integer is never true"),
        ("Event.type != 5", "a string != an integer is never true"),
        ("5 == Event.type", "an integer == a string always fails"),
        ("Event.type > 5", "a string > an integer always fails"),
        ("Event.data.x < true", "a boolean on the right of < always fails"),
        ("true < Event.data.x", "a boolean on the left of < always fails"),
        ('Event.data.x - "a" > 1', "a string on the right of - always fails"),
        ("Event.data.x % 2.5 == 1", "a number on the right of % always fails"),
        ('true + "a" == "b"', "a boolean + a string always fails"),
        ('Event.data.x.Len() == "3"', "an integer == a string always fails"),
        ("Event.type && true", "the left side of && is never a boolean"),
        ("Event.data.b && Event.type", "the right side of && is never a boolean"),
        ("Event.type", "the condition is never a boolean"),
        ("Event.data.x + 1", "the condition is never a boolean"),
        ('Emit("x")', "Emit is a statement: in a condition"),
        ('true && Drop("x")', "Drop is a statement: in a condition"),
        ('Tag("a", 1) || true', "Tag is a statement: in a condition"),
        ('!RouteTo("x")', "RouteTo is a statement: in a condition"),
        ('Log("x") == 1', "Log is a statement: in a condition"),
        ('Event.type == "a" && Event.type == "b"', 'this and Event.type == "a" never hold together'),
        ('Event.type == "a" && Event["type"] != "a"', 'this and Event.type == "a" never hold together'),
        ('Event.data.x == "a" && Event.data.y && 5 < Event.data.x', 'this and Event.data.x == "a" never hold together'),
        ("Event.data.x > 5 && Event.data.x < 5", "never hold together"),
        ("Event.data.x >= 5 && Event.data.x < 5", "never hold together"),
        ("Event.data.x > 10 && 3 == Event.data.x", "never hold together"),
        ("Event.data.x == true && Event.data.x == false", "never hold together"),
        ('Event.data.ok || Event.type == "a" && Event.type == "b"', "never hold together"),
        ('!(Event.type == "a" && Event.type == "b")', "never hold together"),
    ],
)
def test_a_condition_that_cannot_work_is_told(expression: str, message: str) -> None:
    (found,) = condition(expression)
    assert message in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Out.x = nil;", "nil has no value"),
        ("Out.x = Abs(5);", "Abs takes a float"),
        ("Event.type = 5;", "Event.type cannot be an integer"),
        ('Event.type = "";', "Event.type must not be empty"),
        ('Event.time = "now";', "Event.time must be an RFC 3339 timestamp"),
        ('Event.Size = "l";', "'Size' cannot be an attribute"),
        ("Event.zone = Event.data;", ""),
        ("Event.zone = Now();", "Event.zone cannot be a time"),
        ('Event.type.x = "a";', "a string has no fields"),
        ("Event.data.list[-1] = 5;", "an index counts from 0"),
        ("Seen = Log(Event.type);", "null cannot be assigned to Seen"),
        ("Emit(5);", "Emit takes a string here, not an integer"),
        ('Emit("");', "the type '' must not be empty"),
        ('Emit("eventrunner.x");', "the type 'eventrunner.x' is reserved"),
        ('Tag("Size", "large");', "'Size' cannot be a tag: attribute names are lower-case ASCII letters and digits"),
        ('Tag("id", "1");', "'id' cannot be a tag"),
        ('Tag("size", Now().Year().Len());', "an integer has no method Len"),
        ('Tag("size", nil);', "nil has no value"),
        ('Tag("a", "x\\n");', "the tag must not hold control characters"),
        ("Log(5);", "Log takes a string here, not an integer"),
        ('Out.x = Emit("a");', "Emit is a statement: in an expression"),
        ("Event.type.Foo;", "a string has no fields"),
        ("Event.type - 1;", ""),
    ],
)
def test_a_statement_that_cannot_work_is_told(text: str, message: str) -> None:
    try:
        found = statement(text)
    except RuleSyntaxError:
        assert not message
        return
    assert len(found) == bool(message)
    assert all(message in item for item in found)


@pytest.mark.parametrize(
    "text",
    [
        'rule A { when Event.data.x > 1 then Emit("e"); }',
        'rule A { when Event.data.x > 1 then Tag("a", 1); Retract("B"); }',
        "rule A { when Event.data.x > 1 then Event.data.y = 2; }",
        'rule A { when Event.type == "a" then Event.data.y = Event.data.z; Changed("Event.type"); }',
        "rule A { when Event.data.x > 1 then Event.data.y = 2; } rule B { when Event.data.z then Out.n = 1; "
        'Retract("B"); }',
        "rule A { when true then Out.x = 1; }",
    ],
)
def test_a_rule_that_nothing_stops_is_told(text: str) -> None:
    assert [item for item in warnings(text) if "rule A does not stop" in item]


def test_the_hint_for_a_rule_that_does_not_stop_knows_a_misspelt_name() -> None:
    text = 'rule Large { when true then Tag("a", 1); Retract("large"); }'
    (warning,) = warnings_of(compile_rules(text).rules, text, "a.grl")
    assert warning.hint == 'Retract("large") names another rule'


@pytest.mark.parametrize(
    "text",
    [
        'rule A { when Event.data.x > 1 then Emit("e"); Retract("A"); }',
        "rule A { when Event.data.x > 1 then Event.data.x -= 1; }",
        "rule A { when Event.data.x.y > 1 then Event.data.x = 1; }",
        "rule A { when Event.data.x > 1 then Event.data.x.y = 1; }",
        "rule A { when Event.data.list[0] > 1 then Event.data.list[Event.data.i] = 1; }",
        'rule A { when Event["data"]["x"] > 1 then Event.data.x = 1; }',
        "rule A { when Event.data.x > 1 then Event.data = Out; }",
        "rule A { when Event.data.x > 1 then Complete(); }",
        'rule A { when Out.x == 1 then Emit("e"); }',
        "rule A { when Event.data.x > 1 then Retract(Event.data.name); }",
        'rule A { when Event.data.x > 1 then Tag("a", 1); } rule B { when Event.data.y then Complete(); }',
        'rule A { when Event.data.x > 1 then Tag("a", 1); }'
        'rule B { when Event.data.y then Retract("A"); Retract("B"); }',
        'rule A { when Event.data.x > 1 then Tag("a", 1); } rule B { when true then Complete(); }',
        'rule A { when Event.data.x > 1 then Tag("a", 1); }rule B { when true then Event.data.x = 0; Retract("B"); }',
        "rule A { when Event.data.o.x > 1 then Event.data.p = Event.data.o; Event.data.p.x = 1; }",
        "rule A { when Event.data.x > 1 then Out.o = Event.data; Out.o.x = 0; }",
        "rule A { when Event.data.x > 1 then Event.data = Out; Out.x = 0; }",
        'rule A { when false then Tag("a", 1); }',
        'rule A { when true && false then Tag("a", 1); }',
        'rule A { when !IsZero(Event.data.x) && Event.data.x.In("a") then Retract("A"); }',
        'rule A { when Event.data.x == Event.data.y && Event.region == 5 && Tenant.plan != "x" then Retract("A"); }',
        'rule A { when Event.data.x > 5 && Event.data.x <= 6 && Event.data.x != 6 then Retract("A"); }',
        'rule A { when Event.type == "a" || Event.type == "b" then Retract("A"); }',
        'rule A { when Event.data.list[Event.data.i] == 1 then Retract("A"); }',
        'rule A { when Event.data.n.Len() % 2 == 1 && Event.data.m % 2 == 1 then Retract("A"); }',
        'rule A { when X.Len() > 1 && GetTimeYear(X) > 1 then X = Now(); Retract("A"); }',
        'rule A { when Now().UTC().Hour() > 1 && Now().Sub(X) > 5 then X = Now(); Retract("A"); }',
        'rule A { when true then Event.zone = 5; Event.subject = Event.data.s; Tag("size", 5.5); Retract("A"); }',
    ],
)
def test_what_may_work_is_not_warned_of(text: str) -> None:
    assert warnings(text) == []


@pytest.mark.parametrize("path", sorted((ROOT / "rules").rglob("*.grl")), ids=lambda path: path.parent.name)
def test_the_rules_that_ship_give_no_warning(path: Path) -> None:
    assert warnings(path.read_text()) == []


PATIENT = settings(
    derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck), max_examples=1000
)


@PATIENT
@given(request=requests() | chains())
def test_what_is_told_of_generated_rules_is_what_happens(request) -> None:  # type: ignore[no-untyped-def]
    text, data = on_events(request)
    try:
        rules = compile_rules(text, limits=Limits(cycles=request["max_cycle"]))
    except RuleSyntaxError:
        return
    told = {(item.rule, item.proves) for item in findings(rules.rules)}
    verdict = rules.evaluate(FakeEvent(msgspec.json.encode(data)), {})
    if verdict is None:
        return
    failed = verdict.error.rule if verdict.error else None
    for name in {*verdict.fired, failed}:
        assert (name, "never") not in told
    for name in verdict.fired:
        assert (name, "fails") not in told
        assert verdict.error or (name, "endless") not in told
