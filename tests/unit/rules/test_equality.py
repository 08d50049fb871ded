"""Conditions that are looked up after a firing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.rules.support import fire


def after(write: str, constants: list[str], more: str = "") -> list[str]:
    """Which of the rules `Event.data.n == <constant>` fire after a rule wrote n."""
    rules = [f'rule First salience 1 {{ when Event.data.start then Event.data.n = {write}; Retract("First"); }}']
    rules += [
        f'rule R{number} {{ when Event.data.n == {constant}{more} then Retract("R{number}"); }}'
        for number, constant in enumerate(constants)
    ]
    verdict = fire("".join(rules), {"start": True, "n": -1, "list": [1], "two": 2, "text": "1"})
    assert verdict.fired[0] == "First"
    return [constants[int(name[1:])] for name in verdict.fired[1:]]


@pytest.mark.parametrize("more", ["", " && Event.data.two == 2"])
@pytest.mark.parametrize(
    ("write", "expected"),
    [
        ("1", ["1", "1.0"]),
        ("1.0", ["1", "1.0"]),
        ('"1"', ['"1"']),
        ("true", []),
        ("Event.data.list", []),
        ("Event.data.two", ["2"]),
        ("Event.data.text", ['"1"']),
        ("Event.data.text.Len()", ["1", "1.0"]),
        ("9", []),
    ],
)
def test_a_rule_fires_for_the_value_that_was_written_and_no_other(write, expected, more):
    assert after(write, ["1", "2", "3", "1.0", '"1"', '"2"'], more) == expected


def test_a_counter_takes_an_event_through_a_chain_in_one_evaluation_a_step():
    count = 200
    rules = "".join(f"rule R{n} {{ when Event.data.n == {n} then Event.data.n = {n + 1}; }}" for n in range(count))
    verdict = fire(rules, {"n": 0})
    assert verdict.fired == tuple(f"R{n}" for n in range(count))
    assert json.loads(verdict.data or b"") == {"n": count}
    assert verdict.evaluated <= 3 * count


def test_an_index_is_not_trusted_when_an_object_hangs_in_two_places():
    rules = "".join(f'rule R{n} {{ when Event.data.o.n == {n} then Retract("R{n}"); }}' for n in range(5))
    first = "rule First salience 1 { when Event.data.o.n == 9 then Event.data.p = Event.data.o; Event.data.p.n = 3; }"
    data: dict[str, Any] = {"o": {"n": 9}}
    assert fire(first + rules, data).fired == ("First", "R3")
