"""Events of a tenant through the platform's rules, then through its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeAlias

from eventrunner.events import Event
from eventrunner.handlers.active_rules import ActiveSet
from eventrunner.handlers.first_verdict import name_derived
from eventrunner.handlers.verdicts import PLATFORM_PREFIX, apply_verdict, changed, derive
from eventrunner.rules import Verdict
from eventrunner.stage import Outcomes

__all__ = ["judge_group"]

_Evaluate: TypeAlias = Callable[[Event, Mapping[str, Any]], Verdict | None]


def judge_group(
    events: Sequence[Event],
    platform: ActiveSet | None,
    own: ActiveSet | None,
    facts: Mapping[str, Any],
    outcomes: Outcomes,
) -> None:
    """Rules of the platform see what was sent, rules of the tenant what the platform's have made of it."""
    started = time.perf_counter_ns()
    judge = _Judge(platform, own, facts, outcomes)
    sampled = [active for active in (platform, own) if active is not None and active.meter.due]
    # One event of the group; which one changes, as the first ones of batches may be of a kind.
    position = started // 1000 % len(events) if sampled else len(events)
    judge.take(events[:position])
    if sampled:
        judge.sample(events[position])
        judge.take(events[position + 1 :])
    judge.finish(len(events), time.perf_counter_ns() - started)


class _Judge:
    def __init__(
        self, platform: ActiveSet | None, own: ActiveSet | None, facts: Mapping[str, Any], outcomes: Outcomes
    ) -> None:
        self._platform, self._own, self._facts, self._outcomes = platform, own, facts, outcomes
        self._conditions = own.rules.conditions if own else 0
        self._note: Callable[[tuple[str, ...]], object] = own.meter.note if own else _ignore

    def take(self, events: Sequence[Event]) -> None:
        own = self._own.rules.evaluate if self._own else _nothing
        if self._platform is None:
            # Most events go this way, so it has no call of its own.
            facts, conditions, pass_on = self._facts, self._conditions, self._outcomes.results.append
            for event in events:
                verdict = own(event, facts)
                if verdict is None:
                    event.usagerules += conditions
                    pass_on(event)
                else:
                    self._apply(event, verdict)
        else:
            platform = self._platform.rules.evaluate
            for event in events:
                self._judge_first(event, platform, own)

    def sample(self, event: Event) -> None:
        own = self._own.meter.sample if self._own else _nothing
        if self._platform is None:
            self._judge(event, own)
        else:
            self._judge_first(event, self._platform.meter.sample, own)

    def finish(self, events: int, nanoseconds: int) -> None:
        for active in (self._platform, self._own):
            if active is not None:
                active.meter.add(events, nanoseconds)

    def _judge_first(self, event: Event, platform: _Evaluate, own: _Evaluate) -> None:
        """The platform's rules are on nobody's bill."""
        verdict = platform(event, self._facts)
        if verdict is None:
            self._judge(event, own)
            return
        if self._platform is not None:
            self._platform.meter.note(verdict.fired)
        if verdict.error is not None:
            self._fail(event, verdict, PLATFORM_PREFIX)
            return
        derived = derive(event, verdict, PLATFORM_PREFIX)
        if verdict.dropped is not None:
            self._outcomes.derived += derived
            self._outcomes.dropped.append(event)
            return
        # A copy, as a dead letter has to be the event that came, to be judged from the start when it is replayed.
        self._judge(changed(event, verdict), own, event, derived)

    def _judge(
        self, event: Event, evaluate: _Evaluate, original: Event | None = None, derived: Sequence[Event] = ()
    ) -> None:
        """`derived`: by the platform's rules, of `original`."""
        verdict = evaluate(event, self._facts)
        if verdict is None:
            event.usagerules += self._conditions
            self._pass_on(event, derived)
        else:
            self._apply(event, verdict, original, derived)

    def _apply(
        self, event: Event, verdict: Verdict, original: Event | None = None, derived: Sequence[Event] = ()
    ) -> None:
        outcomes = self._outcomes
        event.usagerules += verdict.evaluated
        self._note(verdict.fired)
        if verdict.error is not None:
            if original is not None:
                original.usagerules = event.usagerules
            self._fail(original or event, verdict, "")
            return
        if verdict.emitted:
            derived = [*derived, *derive(event, verdict)]
        if verdict.dropped is not None:
            outcomes.derived += derived
            outcomes.dropped.append(event)
            return
        apply_verdict(event, verdict)
        self._pass_on(event, derived)

    def _pass_on(self, event: Event, derived: Sequence[Event]) -> None:
        if derived:
            self._outcomes.derived += derived
            name_derived(event, derived)
        self._outcomes.results.append(event)

    def _fail(self, event: Event, verdict: Verdict, prefix: str) -> None:
        assert verdict.error is not None
        reason = f"rule {prefix}{verdict.error.rule}: {verdict.error.message}"
        self._outcomes.fail(event, HTTPStatus.UNPROCESSABLE_ENTITY, reason)


def _ignore(fired: tuple[str, ...]) -> None:
    pass


def _nothing(event: Event, facts: Mapping[str, Any]) -> Verdict | None:
    return None
