"""Metrics by rule: how often each fires, counted; how long each takes, estimated from samples.

The rules of a set share tests and are evaluated together, so no rule's own time can be seen there. Now and then an
event takes another way to the same verdict, on which each rule is timed; that costs a hundredth of the time for rules.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from eventrunner.handlers.rule_numbers import rule_numbers
from eventrunner.rules import RuleSet, Verdict
from eventrunner.rules.timing import TimedRules

__all__ = ["RuleMeter"]

_SHARE = 100
"""Of the time for rules, one part in so many is for samples."""


class RuleMeter:
    """Of one owner's rules. Safe to share between threads; a race loses a sample at most, and no firing."""

    def __init__(self, owner: str, rules: RuleSet) -> None:
        self._rules = rules
        self._timed: TimedRules | None = None
        self._numbers = rule_numbers(owner)
        self._numbers.keep(rules.names)
        self._total = self._sampled = self._events = 0
        self.note = self._numbers.note
        """Takes `Verdict.fired` of each event on which rules fired."""

    @property
    def due(self) -> bool:
        return self._sampled * _SHARE <= self._total

    def sample(self, event: Any, facts: Mapping[str, Any]) -> Verdict | None:
        """The verdict on the event, come to the slow way."""
        started = time.perf_counter_ns()
        if self._timed is None:
            self._timed = TimedRules(self._rules)
        verdict, spent = self._timed.evaluate(event, facts)
        # The sample stands for all events since the last one.
        weight, self._events = max(1, self._events) / 1e9, 0
        self._numbers.spend({name: item * weight for name, item in zip(self._timed.names, spent, strict=True)})
        self._sampled += time.perf_counter_ns() - started
        return verdict

    def add(self, events: int, nanoseconds: int) -> None:
        """How many events a group was, and what they took."""
        self._events += events
        self._total += nanoseconds
        self._numbers.settle()
