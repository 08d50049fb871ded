"""Rules on events, with their indexes and tables, do what the same rules do on plain facts.

Those are compared with Grule in tests/peers/test_grule.py.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from eventrunner.rules import KnowledgeBase, Limits, RuleSyntaxError, compile_rules
from hypothesis import HealthCheck, given, settings
from strategies_grl import chains, requests

from tests.unit.rules.support import FakeEvent

_FACT = re.compile(r'(?<![\w".])(F|N|S|L|X|Y|Z)\b(?=[^"\w]|$)')
PATIENT = settings(
    derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck), max_examples=700
)


def on_events(request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The same rules on the data of an event; facts of their own become fields of it."""
    text = _FACT.sub(lambda found: "Event.data" if found[1] == "F" else f"Event.data.{found[1]}", request["grl"])
    others = {name: value for name, value in request["facts"].items() if name != "F"}
    return text, {**request["facts"]["F"], **others}


def agree(request: dict[str, Any]) -> None:
    text, data = on_events(request)
    limits = Limits(cycles=request["max_cycle"])
    try:
        rules = compile_rules(text, limits=limits)
    except RuleSyntaxError:
        # Of unknown names, which fail on plain facts only when they are evaluated.
        return
    base = KnowledgeBase(limits)
    base.add(text)
    raw = msgspec.json.encode(data)
    facts: dict[str, Any] = {"Event": {"data": msgspec.json.decode(raw)}}
    outcome = base.execute(facts)
    verdict = rules.evaluate(FakeEvent(raw), {})
    if verdict is None:
        assert (outcome.fired, outcome.error) == ([], None)
        return
    failing = [verdict.error.rule] if verdict.error and outcome.error == "exec" else []
    assert [*verdict.fired, *failing] == outcome.fired
    try:
        expected = msgspec.json.decode(msgspec.json.encode(facts["Event"].get("data"), enc_hook=int))
    except RecursionError:
        assert verdict.error is not None
        return
    assert (verdict.error is None) == (outcome.error is None)
    assert msgspec.json.decode(verdict.data if verdict.data is not None else raw) == expected


@PATIENT
@given(request=chains())
def test_rules_that_make_each_other_match_agree(request):
    agree(request)


@PATIENT
@given(request=requests())
def test_generated_programs_agree(request):
    agree(request)
