"""The event runner: raw payloads become CloudEvents, then each event is transformed and routed as its tenant says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eventrunner.errors import InvalidInput
from eventrunner.events import Event
from eventrunner.events.adapters import AdapterSpec, adapt, parse_adapters
from eventrunner.events.envelopes import RAW_TYPE
from eventrunner.events.packing import unpack
from eventrunner.events.routing import Route, apply, choose, parse_routes
from eventrunner.events.sections import Section, by_tenant
from eventrunner.stage import UNPACK_LIMIT, Batch, Outcomes, unpacked_events
from eventrunner.storage.per_tenant import PerTenant
from eventrunner.storage.records import Tenant

__all__ = ["EventRunner"]

_RAW_MARK = f'"type":"{RAW_TYPE}"'.encode()
"""As the encoder of events writes it."""

_Plan = tuple[tuple[AdapterSpec, ...], tuple[Route, ...]]


class EventRunner:
    """`tenant_record(name)` gives a tenant's record as bytes, or None for an unknown tenant."""

    def __init__(self, tenant_record: Callable[[str], bytes | None]) -> None:
        self._plans = PerTenant(tenant_record, _read_plan)

    def __call__(self, batch: Batch) -> Outcomes:
        outcomes = Outcomes()
        if batch.sections is None:
            events = batch.events
        else:
            events = []
            for section in batch.sections:
                if self._passes(section):
                    outcomes.passed.append(section)
                else:
                    events += unpacked_events(section.members)
        for tenant, group in by_tenant(events).items():
            self._run(group, *self._plans.get(tenant), outcomes)
        return outcomes

    def _passes(self, section: Section) -> bool:
        """Whether nothing is to be done with the events, so that they need not even be decoded."""
        _, routes = self._plans.get(section.tenant)
        # The text may also be inside some data, which then is decoded for nothing.
        return not routes and _RAW_MARK not in unpack(section.members, UNPACK_LIMIT)

    def _run(
        self, events: Sequence[Event], adapters: tuple[AdapterSpec, ...], routes: tuple[Route, ...], outcomes: Outcomes
    ) -> None:
        for event in events:
            if event.type != RAW_TYPE and not routes:
                outcomes.results.append(event)
                continue
            try:
                self._route(adapt(event, adapters) if event.type == RAW_TYPE else event, routes, outcomes)
            except InvalidInput as error:
                outcomes.fail(event, int(error.status), error.detail)

    @staticmethod
    def _route(event: Event, routes: tuple[Route, ...], outcomes: Outcomes) -> None:
        if not routes:
            outcomes.results.append(event)
            return
        route = choose(event, routes)
        if route.discard:
            outcomes.dropped.append(event)
            return
        outcomes.results.append(apply(event, route))


def _read_plan(record: bytes | None) -> _Plan:
    if record is None:
        return (), ()
    tenant = Tenant.from_json(record)
    return parse_adapters(tenant.adapters), parse_routes(tenant.routes)
