"""What a verdict of the rules means for an event: changes, tags, route, derived events."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import msgspec

from eventrunner.events import Event
from eventrunner.events.event import CONTENT_ATTRIBUTES, CORE_ATTRIBUTES
from eventrunner.ids import derived_id
from eventrunner.rules import Verdict
from eventrunner.storage.records import Tenant
from eventrunner.tenancy import PLATFORM

__all__ = ["PLATFORM_PREFIX", "apply_verdict", "changed", "derive", "tenant_facts"]

PLATFORM_PREFIX = f"{PLATFORM}."
"""Before the names of the platform's rules; no name of a rule starts so."""
_INHERITED = frozenset({"causehops", "replayid"})


def apply_verdict(event: Event, verdict: Verdict) -> None:
    if verdict.data is not None or not verdict.attributes.keys().isdisjoint(CONTENT_ATTRIBUTES):
        event.set_extension("originaldigest", event.original_digest())
    for name, value in verdict.attributes.items():
        if name in CORE_ATTRIBUTES:
            setattr(event, name, value)
        else:
            event.set_extension(name, value)
    if verdict.data is not None:
        event.data, event.data_base64 = msgspec.Raw(verdict.data), None
    if verdict.tags:
        event.extensions = {**(event.extensions or {}), **verdict.tags}
    if verdict.route is not None:
        event.set_extension("route", verdict.route)


def changed(event: Event, verdict: Verdict) -> Event:
    """A copy of the event that is as the rules want it."""
    copied = copy.copy(event)
    copied.extensions = dict(event.extensions) if event.extensions else None
    apply_verdict(copied, verdict)
    return copied


def derive(cause: Event, verdict: Verdict, prefix: str = "") -> list[Event]:
    """Events that the rules emitted. Their ids follow from the cause, the rule and the position. `prefix` keeps the
    rules of one owner apart from rules of the same name of another."""
    # `causehops` too, because rules may be one link in a chain of consumers that feeds itself.
    inherited = {name: value for name, value in (cause.extensions or {}).items() if name in _INHERITED}
    return [
        Event(
            id=derived_id(*cause.identity, prefix + emitted.rule, str(emitted.position)),
            source=cause.source,
            type=emitted.type,
            tenantid=cause.tenantid,
            subject=cause.subject,
            time=cause.time or cause.receivedtime,
            datacontenttype="application/json",
            traceparent=cause.traceparent,
            receivedtime=cause.receivedtime,
            data=msgspec.Raw(emitted.data),
            extensions={"causeid": cause.id, "causerule": prefix + emitted.rule, **inherited},
        )
        for emitted in verdict.emitted
    ]


def tenant_facts(record: bytes | None) -> Mapping[str, Any]:
    """What rules see as `Tenant`."""
    if record is None:
        return {}
    tenant = Tenant.from_json(record)
    return {"id": tenant.id, "name": tenant.name, "plan": tenant.plan}
