"""What an event goes through in the engine, put together: the platform's rules, then the tenant's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from eventrunner.events import Event
from eventrunner.handlers.verdicts import PLATFORM_PREFIX, changed
from eventrunner.rules import Emitted, Explanation, RuleFailure, RuleSet, Verdict, explain

__all__ = ["RuleChain"]


@dataclass(frozen=True, slots=True)
class RuleChain:
    platform: RuleSet | None
    own: RuleSet | None
    """None: nothing is in force."""

    def evaluate(self, event: Event, facts: Mapping[str, Any]) -> Verdict | None:
        """One verdict for both. The rules of the platform are named as in derived events and dead letters."""
        first = self.platform.evaluate(event, facts) if self.platform else None
        if first is None:
            return self.own.evaluate(event, facts) if self.own else None
        first = _prefixed(first)
        if self.own is None or _ends(first):
            return first
        second = self.own.evaluate(changed(event, first), facts)
        return first if second is None else _joined(first, second)

    def explain(self, event: Event, facts: Mapping[str, Any]) -> Iterator[tuple[bool, Explanation]]:
        """Whether it is the platform's, and what its rules or the tenant's do with the event."""
        if self.platform is not None:
            explanation = explain(self.platform, event, facts)
            yield True, explanation
            if explanation.verdict is not None:
                if _ends(explanation.verdict):
                    return
                event = changed(event, explanation.verdict)
        if self.own is not None:
            yield False, explain(self.own, event, facts)


def _ends(verdict: Verdict) -> bool:
    return verdict.error is not None or verdict.dropped is not None


def _prefixed(verdict: Verdict) -> Verdict:
    named: Verdict = msgspec.structs.replace(
        verdict,
        fired=tuple(PLATFORM_PREFIX + rule for rule in verdict.fired),
        emitted=[Emitted(item.type, item.data, PLATFORM_PREFIX + item.rule, item.position) for item in verdict.emitted],
        error=verdict.error and RuleFailure(PLATFORM_PREFIX + verdict.error.rule, verdict.error.message),
    )
    return named


def _joined(first: Verdict, second: Verdict) -> Verdict:
    if second.error is not None:
        # As in the engine: the event is a dead letter as it came, and nothing is derived.
        return Verdict((*first.fired, *second.fired), None, {}, (), None, {}, None, second.evaluated, second.error)
    return Verdict(
        fired=(*first.fired, *second.fired),
        data=first.data if second.data is None else second.data,
        attributes={**first.attributes, **second.attributes},
        emitted=(*first.emitted, *second.emitted),
        dropped=second.dropped,
        tags={**first.tags, **second.tags},
        route=second.route or first.route,
        evaluated=first.evaluated + second.evaluated,
        logs=(*first.logs, *second.logs),
    )
