"""What becomes of the events of a page: for a consumer, through a rule set, or, in a dry run, nothing.

A page may be taken again, after a crash or when two workers overlap, and changes nothing then: derived events are
stored once by their identity, and what this replay has stored is sent again under the same `Nats-Msg-Id`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from eventrunner.errors import NotFound
from eventrunner.events import Event, decode_event, encode_event
from eventrunner.events.event import USAGE_ATTRIBUTES, micros
from eventrunner.handlers.verdicts import derive, tenant_facts
from eventrunner.replay.counting import count_verdict, example, is_derived
from eventrunner.replay.outbox import Outbox, flagged
from eventrunner.replay.record import Replay
from eventrunner.rules import RuleSet, Verdict, compile_rules
from eventrunner.storage import records
from eventrunner.storage.content import first_writes
from eventrunner.storage.event_store import EventStore, Row
from eventrunner.storage.records import Consumer, Tenant, rule_key, tenant_key
from eventrunner.storage.records import RuleSet as RuleSetRecord

__all__ = ["Taker", "Takers"]

_MOST_EXAMPLES = 10

_Look = Callable[[str, str], bytes | None]
"""The record of a bucket and key."""


class Taker(Protocol):
    def __call__(self, bodies: Sequence[bytes], replay: Replay) -> None:
        """Does what is to be done with the events before it returns, and counts it. Raises Unavailable."""


class Takers:
    """Makes what takes the events of a replay; the same objects as long as the registry says the same."""

    def __init__(self, look: _Look, store: EventStore, outbox: Outbox) -> None:
        self._look = look
        self._store = store
        self._outbox = outbox
        self._compiled: dict[tuple[str, str, int], RuleSet] = {}

    def of(self, replay: Replay) -> Taker:
        """Raises NotFound when the consumer, the rule set or its version is not there (any more)."""
        if replay.target.consumer:
            return _ToConsumer(self._durable(replay), self._outbox)
        tenant = self._look(records.TENANTS, replay.tenant)
        facts, days = tenant_facts(tenant), Tenant.keep_days(tenant)
        return _ThroughRules(self._rules(replay), facts, days, self._store, self._outbox)

    def _durable(self, replay: Replay) -> str:
        name = replay.target.consumer
        record = self._look(records.CONSUMERS, tenant_key(replay.tenant, name))
        if record is None:
            raise NotFound(f"Tenant {replay.tenant} has no consumer {name}.")
        return Consumer.from_json(record).durable_name

    def _rules(self, replay: Replay) -> RuleSet:
        name, number = replay.target.rules, replay.target.version
        record = self._look(records.RULES, rule_key(replay.tenant, name))
        version = None
        if record is not None:
            versions = RuleSetRecord.from_json(record).versions
            version = next((item for item in versions if item.version == number), None)
        if version is None:
            raise NotFound(f"Tenant {replay.tenant} has no rule set {name} with a version {number}.")
        key = (replay.tenant, name, number)
        if key not in self._compiled:
            if len(self._compiled) >= 64:
                self._compiled.clear()
            self._compiled[key] = compile_rules(version.text, name=name)
        return self._compiled[key]


class _ToConsumer:
    def __init__(self, durable: str, outbox: Outbox) -> None:
        self._durable = durable
        self._outbox = outbox

    def __call__(self, bodies: Sequence[bytes], replay: Replay) -> None:
        replay.counts.sent += len(bodies)
        if not replay.dry_run:
            marked = [flagged(body, replay.id) for body in bodies]
            self._outbox.send(replay.tenant, replay.id, [marked], only=self._durable)


class _ThroughRules:
    """The rules see an event as it is stored, so with what earlier rules have made of it."""

    def __init__(
        self, rules: RuleSet, facts: Mapping[str, Any], keep_days: int, store: EventStore, outbox: Outbox
    ) -> None:
        self._rules = rules
        self._facts = facts
        self._keep_days = keep_days
        self._store = store
        self._outbox = outbox

    def __call__(self, bodies: Sequence[bytes], replay: Replay) -> None:
        derived: list[Event] = []
        for event in map(decode_event, bodies):
            if is_derived(event):
                continue
            replay.counts.evaluated += 1
            verdict = self._rules.evaluate(event, self._facts)
            if verdict is not None:
                derived += _judge(event, verdict, replay)
        if derived:
            self._settle(derived, replay)

    def _settle(self, derived: Sequence[Event], replay: Replay) -> None:
        rows = [_row(event, replay.id)._replace(keep_days=self._keep_days) for event in derived]
        if replay.dry_run:
            report = first_writes(rows, [row[:3] for row in rows], self._stored)[1]
        else:
            report = self._store.put(rows)
        duplicates, conflicts = set(report.duplicates), set(report.conflicts)
        # A message for each cause: a page that is read again after a crash may end elsewhere, as what was derived lies
        # among what it was derived from.
        groups: dict[object, list[bytes]] = {}
        for index, (event, row) in enumerate(zip(derived, rows, strict=True)):
            body = self._own(replay, row) if index in duplicates or index in conflicts else row.body
            if body is not None:
                replay.counts.derived += 1
                groups.setdefault((event.source, (event.extensions or {})["causeid"]), []).append(body)
            elif index in conflicts:
                replay.counts.conflicts += 1
            else:
                replay.counts.known += 1
        if groups and not replay.dry_run:
            self._outbox.send(replay.tenant, replay.id, list(groups.values()))

    def _own(self, replay: Replay, row: Row) -> bytes | None:
        """The event as it is stored, if it was this very replay that stored it and did not come so far as to count it.
        With a rule that looks at the clock, it differs from what the rule derives now."""
        stored = None if replay.dry_run else self._store.get(*row[:3])
        return stored if stored is not None and f'"replayid":"{replay.id}"'.encode() in stored else None

    def _stored(self, identity: tuple[str, str, str]) -> Row | None:
        body = self._store.get(*identity)
        return None if body is None else _row_of(decode_event(body), body)


def _judge(event: Event, verdict: Verdict, replay: Replay) -> list[Event]:
    """Counts the verdict; returns the events that it derives, which are none when a rule failed."""
    count_verdict(verdict, replay.counts)
    if replay.dry_run and verdict.fired and len(replay.examples) < _MOST_EXAMPLES:
        replay.examples.append(example(event, verdict))
    if verdict.error is None:
        return derive(event, verdict)
    if len(replay.errors) < _MOST_EXAMPLES:
        error = {"id": event.id, "source": event.source, "rule": verdict.error.rule}
        replay.errors.append(error | {"message": verdict.error.message[:500]})
    return []


def _row(event: Event, replay_id: str) -> Row:
    """Flagged, and without any usage: a replay is on no bill."""
    for name in USAGE_ATTRIBUTES:
        setattr(event, name, 0)
    event.set_extension("replayid", replay_id)
    return _row_of(event, encode_event(event))


def _row_of(event: Event, body: bytes) -> Row:
    received = micros(event.receivedtime) if event.receivedtime else 0
    time = received if event.time is None else micros(event.time)
    return Row(event.tenantid, event.source, event.id, event.type, time, received, body)
