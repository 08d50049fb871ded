"""Short ways to run rules in tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from eventrunner.rules import KnowledgeBase, Outcome, Verdict, compile_rules


@dataclass
class FakeEvent:
    """What the engine needs of an event, and nothing else."""

    data: bytes = b""
    type: str = "order.placed"
    id: str = "1"
    source: str = "/test"
    specversion: str = "1.0"
    tenantid: str = "acme"
    subject: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    traceparent: str | None = None
    receivedtime: str | None = None
    extensions: dict[str, Any] | None = None


def evaluate(text: str, data: Any = None, tenant: dict[str, Any] | None = None, **attributes: Any) -> Verdict | None:
    raw = data if isinstance(data, bytes) else msgspec.json.encode(data)
    return compile_rules(text).evaluate(FakeEvent(raw, **attributes), tenant or {})


def fire(text: str, data: Any = None, tenant: dict[str, Any] | None = None, **attributes: Any) -> Verdict:
    verdict = evaluate(text, data, tenant, **attributes)
    assert verdict is not None
    return verdict


def execute(text: str, facts: dict[str, Any], **options: Any) -> Outcome:
    base = KnowledgeBase()
    base.add(text)
    return base.execute(facts, **options)


def value_of(expression: str, fact: Any = None) -> Any:
    """What an expression over the fact F yields; the string `error` if it fails."""
    facts: dict[str, Any] = {"F": {} if fact is None else fact, "R": {}}
    outcome = execute(f'rule A {{ when true then R.v = {expression}; Retract("A"); }}', facts)
    return facts["R"]["v"] if outcome.error is None else "error"


def holds(expression: str, fact: Any = None) -> bool:
    facts: dict[str, Any] = {"F": {} if fact is None else fact}
    return bool(execute(f'rule A {{ when {expression} then Retract("A"); }}', facts).fired)
