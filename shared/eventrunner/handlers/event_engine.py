"""The event engine: the platform's and the tenant's rules on each event, then the event store, then the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple

from eventrunner.events import Event, decode_event, encode_event
from eventrunner.events.event import AFTER_RULES, micros
from eventrunner.events.sections import Section, by_tenant
from eventrunner.handlers.active_rules import ActiveRules
from eventrunner.handlers.first_verdict import restored, settle
from eventrunner.handlers.judging import judge_group
from eventrunner.handlers.verdicts import tenant_facts
from eventrunner.stage import Batch, Outcomes
from eventrunner.storage.event_store import EventStore, Row
from eventrunner.storage.per_tenant import PerTenant
from eventrunner.storage.records import Tenant
from eventrunner.telemetry import EVENTS_TOTAL
from eventrunner.tenancy import PLATFORM

__all__ = ["EventEngine"]


class EventEngine:
    """Rules come from `rule_records()` (`<owner>.<name>` → record), facts on the tenant from `tenant_record(name)`."""

    def __init__(
        self,
        store: EventStore,
        tenant_record: Callable[[str], bytes | None],
        rule_records: Callable[[], Mapping[str, bytes]],
    ) -> None:
        self._store = store
        self._facts = PerTenant(tenant_record, tenant_facts)
        self._keep_days = PerTenant(tenant_record, Tenant.keep_days)
        self._rules = ActiveRules(rule_records)

    def __call__(self, batch: Batch) -> Outcomes:
        outcomes = Outcomes()
        rows: list[Row] = []
        results: list[_Group] = []
        derived: list[Event] = []
        for events in batch.chunks():
            judged = self._judge_all(events)
            results += _encode(judged.results, rows, self._keep_days.get)
            derived += judged.derived
            outcomes.failures += judged.failures
            outcomes.dropped += judged.dropped
        results += _encode(settle(self._store, outcomes, derived), rows, self._keep_days.get)
        from_outside = len(rows)
        derivatives = _encode(derived, rows, self._keep_days.get, follows=True)
        if rows:
            # One put, because each is a transaction with an fsync of its own.
            report = self._store.put(rows)
            self._settle_conflicts(report.conflicts, rows, from_outside, outcomes)
            # What is stored goes on, so that it is the same everywhere; nobody knows whether it did when it was stored.
            for index, body in report.kept.items():
                rows[index] = rows[index]._replace(body=body)
            kept = (body for index, body in report.kept.items() if index < from_outside)
            outcomes.written_derived = restored(self._store, kept, derived)
        outcomes.written = [group.section(rows) for group in results]
        outcomes.written_derived += [group.section(rows) for group in derivatives]
        return outcomes

    def _settle_conflicts(
        self, conflicts: Iterable[int], rows: Sequence[Row], from_outside: int, outcomes: Outcomes
    ) -> None:
        """The first event of an identity stays, another one is a dead letter. One that rules or a consumer made is only
        counted."""
        for index in conflicts:
            row = rows[index]
            EVENTS_TOTAL.labels("event-engine", "conflict").inc()
            if index < from_outside and "causeconsumer" not in (decode_event(row.body).extensions or ()):
                reason = f"another event {row.id!r} of source {row.source!r} was stored before and differs"
                outcomes.fail(decode_event(row.body), HTTPStatus.CONFLICT, reason)

    def _judge_all(self, events: Sequence[Event]) -> Outcomes:
        outcomes = Outcomes()
        outcomes.results += [event for event in events if _is_after_rules(event)]
        if outcomes.results:
            events = [event for event in events if not _is_after_rules(event)]
        platform = self._rules.get(PLATFORM)
        for tenant, group in by_tenant(events).items():
            own = self._rules.get(tenant)
            if platform is None and own is None:
                outcomes.results += group
            else:
                judge_group(group, platform, own, self._facts.get(tenant), outcomes)
        return outcomes


def _is_after_rules(event: Event) -> bool:
    """Whether a consumer has published it as a result."""
    return event.extensions is not None and AFTER_RULES in event.extensions


class _Group(NamedTuple):
    """A tenant's events among the rows."""

    tenant: str
    start: int
    end: int

    def section(self, rows: Sequence[Row]) -> Section:
        members = b",".join([row.body for row in rows[self.start : self.end]])
        return Section(self.tenant, self.end - self.start, members)


def _encode(
    events: Sequence[Event], rows: list[Row], keep_days: Callable[[str], int], *, follows: bool = False
) -> list[_Group]:
    """Adds a row for each event. Its text is for the store and for the reply, so that it is encoded once."""
    groups = []
    new = tuple.__new__
    for tenant, group in by_tenant(events).items():
        start, days = len(rows), keep_days(tenant)
        for event in group:
            event.usageout = 0
            body = encode_event(event)
            # Into the text, because to encode the event again for its own size would cost three times as much.
            body = b'%b,"usageout":%d}' % (body[:-1], len(body))
            received = micros(event.receivedtime) if event.receivedtime else 0
            time = received if event.time is None else micros(event.time)
            # Row(…) takes three times as long.
            row = new(Row, (tenant, event.source, event.id, event.type, time, received, body, days, follows))
            rows.append(row)
        groups.append(_Group(tenant, start, len(rows)))
    return groups
