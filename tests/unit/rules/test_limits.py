"""What rules of a tenant may take of the machine for one event."""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from importlib import import_module
from typing import Any

import msgspec
import pytest
from eventrunner.rules import Limits, Verdict, compile_rules, explain

from tests.unit.rules.support import FakeEvent, fire, value_of

SECONDS = 0.03
PATIENCE = 3.0
"""Some looks at the clock later, on a busy machine."""

LONG = "".join(random.Random(1).choices("abcdefghijklmnop", k=900_000))


def fire_within(text: str, data: Any) -> Verdict:
    """The verdict, which came in time."""
    rules = compile_rules(text, limits=Limits(seconds=SECONDS))
    event = FakeEvent(msgspec.json.encode(data))
    started = time.thread_time()
    verdict = rules.evaluate(event, {})
    assert time.thread_time() - started < PATIENCE
    assert verdict is not None
    return verdict


def repeated(part: str, count: int, operator: str = " || ") -> str:
    return operator.join(part.format(number) for number in range(count))


# Each would take many times as long, on fast machines too. No pattern ends with `$`: RE2 would look at the end only.
SLOW_CONDITIONS = {
    "regular expressions": repeated('Event.data.s.MatchString("[a-q][^u-z]{{9}}x{0}")', 900),
    "replacing": repeated('Event.data.s.Replace("a", "{0}").Len() == 1', 900),
    "repeating": repeated('"ab".Repeat(500000).Contains("{0}c")', 900),
    "joining": repeated('Event.data.s + "{0}" + Event.data.n == "x"', 480),
    "splitting": repeated('Event.data.s.Split("a").Len() == {0}', 900),
    "a large array": repeated("Event.data.list.Append({0}).Len() == 1", 900),
    "functions that count": repeated("Jn(9{0:03}, 9999.5) > 1.0", 900),
    "texts of a Split": repeated('ContainsStr(Event.data.s.Split("a"), "{0}")', 900),
}


@pytest.mark.parametrize("condition", [pytest.param(text, id=name) for name, text in SLOW_CONDITIONS.items()])
def test_a_slow_condition_ends_and_its_rule_is_named(condition):
    quick = 'rule Quick salience 1 { when Event.data.n == 2 then Retract("Quick"); }'
    text = f'{quick} rule Slow {{ when {condition} then Retract("Slow"); }}'
    verdict = fire_within(text, {"s": LONG, "n": 1, "list": [0] * 90_000})
    assert verdict.error is not None
    assert (verdict.error.rule, verdict.fired) == ("Slow", ())
    assert "time limit" in verdict.error.message


@pytest.mark.parametrize("condition", [pytest.param(text, id=name) for name, text in SLOW_CONDITIONS.items()])
def test_the_explanation_of_a_slow_condition_ends_and_says_so(condition, monkeypatch):
    # The package has a function of the module's name.
    monkeypatch.setattr(import_module("eventrunner.rules.explain"), "SECONDS", SECONDS)
    text = f'rule Slow {{ when {condition} then Retract("Slow"); }}'
    rules = compile_rules(text, limits=Limits(seconds=SECONDS))
    event = FakeEvent(msgspec.json.encode({"s": LONG, "n": 1, "list": [0] * 90_000}))
    started = time.thread_time()
    explanation = explain(rules, event, {})
    assert time.thread_time() - started < PATIENCE
    assert explanation.verdict is not None
    assert explanation.verdict.error is not None
    assert explanation.end == f"rule Slow failed: over the time limit of {SECONDS} s"
    assert "time limit" in explanation.conditions[0].when.error


@pytest.mark.parametrize("condition", [pytest.param(text, id=name) for name, text in SLOW_CONDITIONS.items()])
def test_a_slow_statement_ends_and_its_rule_is_named(condition):
    text = f'rule Slow {{ when Event.data.n == 1 then Event.data.x = {condition}; Retract("Slow"); }}'
    verdict = fire_within(text, {"s": LONG, "n": 1, "list": [0] * 90_000})
    assert verdict.error is not None
    assert verdict.error.rule == "Slow"
    assert "time limit" in verdict.error.message


def test_a_condition_that_turns_slow_after_a_firing_ends():
    first = "rule First salience 1 { when Event.data.n == 1 then Event.data.n = 2; }"
    slow = "".join(
        f'rule Slow{n} {{ when Event.data.n == 2 && Event.data.s.Replace("a", "{n}") == "" then Event.data.x = 1; }}'
        for n in range(900)
    )
    verdict = fire_within(first + slow, {"s": LONG, "n": 1})
    assert verdict.error is not None
    assert verdict.error.rule.startswith("Slow")
    assert verdict.fired == ("First",)


def test_firings_without_end_are_stopped_by_the_clock():
    verdict = fire_within(
        'rule Loop { when Event.data.n >= 0 then Event.data.n += 1; Out.x = "a".Repeat(100000); }', {"n": 0}
    )
    assert verdict.error is not None
    assert verdict.error.rule == "Loop"
    assert "time limit" in verdict.error.message or "still matching" in verdict.error.message


def test_the_time_of_one_event_is_not_charged_to_the_next():
    text = f'rule Slow {{ when {SLOW_CONDITIONS["replacing"]} then Retract("Slow"); }}'
    assert fire_within(text, {"s": LONG}).error is not None
    time.sleep(SECONDS)
    assert value_of('F.s.Replace("a", "b").Len()', {"s": "a" * 5000}) == 5000
    assert fire('rule A { when Event.data.s.Len() > 9 then Retract("A"); }', {"s": "a" * 5000}).fired == ("A",)


@pytest.mark.parametrize(
    "statement",
    [
        "Event.data.s = Event.data.s + Event.data.s;",
        "Event.data.s += Event.data.s;",
        'Event.data.s = Event.data.s.Replace("", Event.data.s);',
        "Event.data.s = Event.data.s.Repeat(100);",
        "Event.data.s = Event.data.s.Repeat(1e300);",
        "Event.data.a = Event.data.a.Append(Event.data.a, Event.data.a);",
        "Event.data.o.x = Event.data.o;",
        'Out.s = Event.data.s.Repeat(1000); Emit("x");',
        'LogFormat("%999999d", 1);',
        'LogFormat("%.999999f", 1.5);',
        'LogFormat("%v", Event.data.s.Repeat(1000));',
        "Log(Event.data.s.Repeat(1000));",
    ],
)
def test_what_grows_with_each_firing_stays_small(statement):
    text = f"rule Grow {{ when Event.data.s.Len() > 0 then {statement} }}"
    tracemalloc.start()
    try:
        verdict = fire_within(text, {"s": "a" * 1000, "a": [1], "o": {}})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert verdict.error is not None
    assert verdict.error.rule == "Grow"
    assert peak < 200 * 2**20
    assert len(verdict.data or b"") + sum(len(item.data) for item in verdict.emitted) <= 32 * 2**20
    assert sum(map(len, verdict.logs)) <= 2**20


def test_a_split_makes_no_larger_array_than_rules_may_build():
    assert value_of('F.s.Split("").Len()', {"s": "a" * 100_000}) == 100_000
    assert value_of('F.s.Split("").Len()', {"s": "a" * 100_002}) == "error"


def test_a_regular_expression_may_be_large_or_its_text_long():
    large = "(\\\\pL{1,20}\\\\d?){1,20}x$"
    assert value_of(f'F.s.MatchString("{large}")', {"s": "a1x"}) is True
    assert value_of(f'F.s.MatchString("{large}")', {"s": "a1x" * 10_000}) == "error"
    assert value_of('F.s.MatchString("a.*b$")', {"s": "a" * 1_000_000 + "b"}) is True
    assert value_of('F.s.MatchString("a".Repeat(20000))', {"s": "a"}) == "error"


def test_limits_do_not_change_what_ordinary_rules_do():
    text = 'rule A { when Event.data.s.MatchString("^a+$") then Event.data.t = Event.data.s + "b"; Retract("A"); }'
    assert json.loads(fire(text, {"s": "a" * 2000}).data or b"")["t"] == "a" * 2000 + "b"
