"""The event engine: a tenant's rules on each event, then the event store, then the results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from eventrunner.errors import InvalidInput
from eventrunner.events import Event, decode_event, encode_event
from eventrunner.events.event import CONTENT_ATTRIBUTES, CORE_ATTRIBUTES, micros
from eventrunner.events.sections import Section, by_tenant
from eventrunner.handlers.first_verdict import name_derived, restored, settle
from eventrunner.ids import derived_id
from eventrunner.rules import RuleSet, Verdict, combine, compile_rules
from eventrunner.stage import Batch, Outcomes
from eventrunner.storage.event_store import EventStore, Row
from eventrunner.storage.per_tenant import PerTenant
from eventrunner.storage.records import RuleSet as RuleSetRecord
from eventrunner.storage.records import Tenant
from eventrunner.telemetry import EVENTS_TOTAL

__all__ = ["EventEngine", "derive", "tenant_facts"]

_log = logging.getLogger(__name__)


class EventEngine:
    """Rules come from `rule_records()` (`<tenant>.<name>` → record), facts on the tenant from `tenant_record(name)`."""

    def __init__(
        self,
        store: EventStore,
        tenant_record: Callable[[str], bytes | None],
        rule_records: Callable[[], Mapping[str, bytes]],
    ) -> None:
        self._store = store
        self._facts = PerTenant(tenant_record, tenant_facts)
        self._keep_days = PerTenant(tenant_record, _retention_days)
        self._rules = _TenantRules(rule_records)

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
        derivatives = _encode(derived, rows, self._keep_days.get)
        rows[from_outside:] = [row._replace(follows=True) for row in rows[from_outside:]]
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
        """The first event of an identity stays, another one is a dead letter. A derived one is only counted."""
        for index in conflicts:
            row = rows[index]
            EVENTS_TOTAL.labels("event-engine", "conflict").inc()
            if index < from_outside:
                reason = f"another event {row.id!r} of source {row.source!r} was stored before and differs"
                outcomes.fail(decode_event(row.body), HTTPStatus.CONFLICT, reason)

    def _judge_all(self, events: Iterable[Event]) -> Outcomes:
        outcomes = Outcomes()
        for tenant, group in by_tenant(events).items():
            rules = self._rules.get(tenant)
            if rules is None:
                outcomes.results += group
                continue
            facts = self._facts.get(tenant)
            for event in group:
                _judge(event, rules, facts, outcomes)
        return outcomes


class _Group(NamedTuple):
    """A tenant's events among the rows."""

    tenant: str
    start: int
    end: int

    def section(self, rows: Sequence[Row]) -> Section:
        members = b",".join([row.body for row in rows[self.start : self.end]])
        return Section(self.tenant, self.end - self.start, members)


def _encode(events: Iterable[Event], rows: list[Row], keep_days: Callable[[str], int]) -> list[_Group]:
    """Adds a row for each event. Its text is for the store and for the reply, so that it is encoded once."""
    groups = []
    for tenant, group in by_tenant(events).items():
        start, days = len(rows), keep_days(tenant)
        for event in group:
            event.usageout = 0
            body = encode_event(event)
            # Into the text, because to encode the event again for its own size would cost three times as much.
            body = b'%b,"usageout":%d}' % (body[:-1], len(body))
            received = micros(event.receivedtime) if event.receivedtime else 0
            time = received if event.time is None else micros(event.time)
            rows.append(Row(tenant, event.source, event.id, event.type, time, received, body, days))
        groups.append(_Group(tenant, start, len(rows)))
    return groups


def _judge(event: Event, rules: RuleSet, facts: Mapping[str, Any], outcomes: Outcomes) -> None:
    verdict = rules.evaluate(event, facts)
    if verdict is None:
        event.usagerules += rules.conditions
        outcomes.results.append(event)
        return
    event.usagerules += verdict.evaluated
    if verdict.error is not None:
        reason = f"rule {verdict.error.rule}: {verdict.error.message}"
        outcomes.fail(event, HTTPStatus.UNPROCESSABLE_ENTITY, reason)
        return
    derived = derive(event, verdict) if verdict.emitted else ()
    outcomes.derived += derived
    if verdict.dropped is not None:
        outcomes.dropped.append(event)
        return
    _apply(event, verdict)
    if derived:
        name_derived(event, derived)
    outcomes.results.append(event)


def _apply(event: Event, verdict: Verdict) -> None:
    if verdict.data is not None or not verdict.attributes.keys().isdisjoint(CONTENT_ATTRIBUTES):
        event.set_extension("originaldigest", event.original_digest())
    for name, value in verdict.attributes.items():
        if name in CORE_ATTRIBUTES:
            setattr(event, name, value)
        else:
            event.set_extension(name, value)
    if verdict.data is not None:
        event.data, event.data_base64 = msgspec.Raw(verdict.data), None
    for name, value in verdict.tags.items():
        event.set_extension(name, value)
    if verdict.route is not None:
        event.set_extension("route", verdict.route)


def derive(cause: Event, verdict: Verdict) -> list[Event]:
    """Events that the rules emitted. Their ids follow from the cause, the rule and the position."""
    inherited = {name: value for name, value in (cause.extensions or {}).items() if name == "replayid"}
    return [
        Event(
            id=derived_id(*cause.identity, emitted.rule, str(emitted.position)),
            source=cause.source,
            type=emitted.type,
            tenantid=cause.tenantid,
            subject=cause.subject,
            time=cause.time or cause.receivedtime,
            datacontenttype="application/json",
            traceparent=cause.traceparent,
            receivedtime=cause.receivedtime,
            data=msgspec.Raw(emitted.data),
            extensions={"causeid": cause.id, "causerule": emitted.rule, **inherited},
        )
        for emitted in verdict.emitted
    ]


def tenant_facts(record: bytes | None) -> Mapping[str, Any]:
    if record is None:
        return {}
    tenant = Tenant.from_json(record)
    return {"id": tenant.id, "name": tenant.name, "plan": tenant.plan}


def _retention_days(record: bytes | None) -> int:
    return (Tenant.from_json(record).retention_days or 0) if record else 0


class _TenantRules:
    """The active rule sets of each tenant, compiled when they change."""

    def __init__(self, records: Callable[[], Mapping[str, bytes]]) -> None:
        self._records = records
        self._seen: Mapping[str, bytes] | None = None
        self._compiled: dict[str, RuleSet] = {}
        self._sources: dict[str, tuple[tuple[str, str], ...]] = {}

    def get(self, tenant: str) -> RuleSet | None:
        records = self._records()
        if records is not self._seen:
            self._update(records)
            self._seen = records
        return self._compiled.get(tenant)

    def _update(self, records: Mapping[str, bytes]) -> None:
        active: dict[str, list[tuple[str, str]]] = {}
        for _, value in sorted(records.items()):
            record = RuleSetRecord.from_json(value)
            for version in record.versions:
                if version.version == record.active:
                    active.setdefault(record.tenant, []).append((record.name, version.text))
        compiled: dict[str, RuleSet] = {}
        for tenant, texts in active.items():
            if self._sources.get(tenant) == tuple(texts):
                compiled[tenant] = self._compiled[tenant]
                continue
            try:
                compiled[tenant] = combine([compile_rules(text, name=name) for name, text in texts])
            except InvalidInput:
                # The API compiles before it stores, so this is a set that an older version accepted.
                _log.exception("rule sets of tenant %s do not compile; its events pass without rules", tenant)
                continue
        self._compiled = compiled
        self._sources = {tenant: tuple(texts) for tenant, texts in active.items() if tenant in compiled}
