"""The event runner: raw payloads become CloudEvents, then each event is transformed and routed as its tenant says."""

from __future__ import annotations

from collections.abc import Callable

from eventrunner.errors import InvalidInput
from eventrunner.events import Event
from eventrunner.events.adapters import RAW_TYPE, AdapterSpec, adapt, parse_adapters
from eventrunner.events.routing import Route, apply, choose, parse_routes
from eventrunner.events.sections import by_tenant
from eventrunner.handlers.tenants import PerTenant
from eventrunner.stage import Batch, Outcomes
from eventrunner.storage.records import Tenant

__all__ = ["EventRunner"]

_Plan = tuple[tuple[AdapterSpec, ...], tuple[Route, ...]]


class EventRunner:
    """`tenant_record(name)` gives a tenant's record as bytes, or None for an unknown tenant."""

    def __init__(self, tenant_record: Callable[[str], bytes | None]) -> None:
        self._plans = PerTenant(tenant_record, _read_plan)

    def __call__(self, batch: Batch) -> Outcomes:
        outcomes = Outcomes()
        results = outcomes.results
        for tenant, events in by_tenant(batch.events).items():
            adapters, routes = self._plans.get(tenant)
            for event in events:
                if event.type != RAW_TYPE and not routes:
                    results.append(event)
                    continue
                try:
                    if event.type == RAW_TYPE:
                        adapt(event, adapters)
                    self._route(event, routes, outcomes)
                except InvalidInput as error:
                    outcomes.fail(event, int(error.status), error.detail)
        return outcomes

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
