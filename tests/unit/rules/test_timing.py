from __future__ import annotations

import itertools

from eventrunner.rules import compile_rules
from eventrunner.rules.timing import TimedRules

from tests.unit.rules.support import FakeEvent


def test_the_verdict_is_the_rule_sets() -> None:
    rules = compile_rules(
        'rule A { when Event.data.a > 1 && Event.type == "order.placed" then Event.data.b = 1; Retract("A"); }'
        'rule B { when Event.data.b == 1 then Emit("b"); Retract("B"); }'
        'rule C { when Event.data.c then Drop("c"); Retract("C"); }'
    )
    timed = TimedRules(rules)
    for data in (b'{"a":2}', b'{"a":1}', b'{"b":1,"c":true}', b"", b"\xff"):
        assert timed.evaluate(FakeEvent(data), {})[0] == rules.evaluate(FakeEvent(data), {})


def test_each_rule_has_the_time_of_its_condition_and_its_block() -> None:
    rules = compile_rules(
        'rule A { when true then Event.data.b = 1; Retract("A"); } rule B { when Event.data.b == 2 then Complete(); }'
    )
    ticks = itertools.count()
    timed = TimedRules(rules, lambda: next(ticks))
    # A: its condition and its block; B: its condition, and once more after A has written what it reads.
    assert timed.evaluate(FakeEvent(b"{}"), {})[1] == [2, 2]
