"""What of a tenant's is deleted: everything at once, or what is older than its retention."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

from flask import Request, Response
from nats.aio.client import Client

from eventrunner.access.identity import Identity
from eventrunner.access.keys import is_long_over
from eventrunner.api.backend import Backend, check_admin
from eventrunner.api.bodies import read_choice, refuse_unknown
from eventrunner.api.conditions import Condition, tenant_tag
from eventrunner.billing.invoices import invoice_id
from eventrunner.billing.periods import Period
from eventrunner.clock import Clock
from eventrunner.errors import Conflict, FieldError, InvalidInput
from eventrunner.events.event import micros
from eventrunner.source.letter_box import LetterBox, Swept
from eventrunner.source.letters import LetterFilter
from eventrunner.stage.answers import json_response
from eventrunner.storage import records
from eventrunner.storage.consumer_logs import log_subject
from eventrunner.storage.modules import module_of
from eventrunner.storage.records import Key, Tenant, tenant_key
from eventrunner.storage.registry import Registry
from eventrunner.tenancy import (
    DEADLETTER_STREAM,
    EVENTS_STREAM,
    LOGS_STREAM,
    RAW_STREAM,
    REPLAYS_STREAM,
    RESULTS_STREAM,
    USAGE_STREAM,
    check_tenant,
    deadletter_subject,
    subject,
)

__all__ = ["ErasureCalls"]

_DAY = 86_400_000_000
_PASSES = 5
_PAUSE_SECONDS = 1.0
"""What was under way in a stage when the streams were emptied arrives meanwhile."""
_PATIENCE = 30.0
"""Seconds; dropping letters pauses well before, to be called again."""
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


class ErasureCalls:
    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock

    def erase(self, request: Request, identity: Identity, tenant: str) -> Response:
        """Deletes all that the tenant has but its final invoices, which hold the usage they were made of. Again, it
        deletes what is left. Refused without `?confirm=<tenant>`, and while usage is on no invoice without
        `unbilled=discard`."""
        check_admin(identity)
        check_tenant(tenant)
        refuse_unknown(request.args, frozenset({"confirm", "unbilled"}))
        if request.args.get("confirm") != tenant:
            raise InvalidInput(
                f"This deletes all events of {tenant} for good: confirm it with ?confirm={tenant}.",
                (FieldError("confirm", f"must be {tenant}"),),
            )
        condition = Condition(request)
        entry = self._backend.registry.entry(records.TENANTS, tenant)
        condition.check(None if entry is None else tenant_tag(entry[1], self._backend.keys(tenant)))
        unbilled = self._unbilled(tenant)
        if unbilled and read_choice(request.args, "unbilled", ("discard",)) is None:
            raise Conflict(
                f"{tenant} has usage that is on no final invoice, of {', '.join(unbilled)}: close these months with "
                "POST /api/v1/billing/close first, or let go of it with &unbilled=discard."
            )
        erased = self._registry_entries(tenant)
        for attempt in range(_PASSES):
            found = self._data(tenant)
            erased += found
            if attempt and not found:
                break
            time.sleep(_PAUSE_SECONDS)
        kept = len(self._backend.store.invoices(tenant))
        return json_response(
            {"tenant": tenant, "erased": dict(erased), "kept": {"invoices": kept}, "discarded_usage": unbilled}
        )

    def sweep(self, _: Request, identity: Identity) -> Response:
        """Deletes what each tenant's retention is over for, and keys that were rotated long ago. A store that deletes
        by itself reports nothing."""
        check_admin(identity)
        now = micros(self._clock().isoformat())
        swept = {}
        for name, value in sorted(self._backend.registry.items(records.TENANTS).items()):
            days = Tenant.from_json(value).retention_days
            if days is not None:
                before = now - days * _DAY
                events = self._backend.store.expire(name, before)
                rows = self._backend.analytics.expire(name, before)
                swept[name] = {"events": events, "rows": rows, "dead_letters": self._expire_letters(name, before)}
        return json_response({"tenants": swept, "expired_keys": self._expire_keys()})

    def _expire_keys(self) -> int:
        now = self._clock().timestamp()
        keys = map(Key.from_json, list(self._backend.registry.items(records.KEYS).values()))
        over = [key for key in keys if is_long_over(key, now)]
        for key in over:
            self._forget(key)
        return len(over)

    def _forget(self, key: Key) -> None:
        """The key, and when it was used last."""
        self._backend.registry.purge(records.KEYS, key.hash)
        self._backend.registry.run(lambda client: Registry(client).purge(records.KEY_USES, key.id))

    def _expire_letters(self, tenant: str, received_before: int) -> int:
        wanted, count, cursor = LetterFilter(tenant, received_before=received_before), 0, None
        while True:
            swept = self._backend.registry.run(partial(_drop, wanted, cursor), _PATIENCE)
            count, cursor = count + swept.done, swept.next_cursor
            if cursor is None:
                return count

    def _unbilled(self, tenant: str) -> list[str]:
        """The months in which the tenant used something that no final invoice has."""
        until = self._clock() + timedelta(days=1)
        months = self._backend.analytics.usage(tenant, _BEGINNING, until, window="month")
        periods = [Period.of(row.start) for row in months]
        return [
            str(period)
            for period in periods
            if self._backend.store.get_invoice(tenant, invoice_id(tenant, period)) is None
        ]

    def _registry_entries(self, tenant: str) -> Counter[str]:
        """First of all, so that nothing new is let in."""
        registry = self._backend.registry
        erased: Counter[str] = Counter()
        registry.catch_up(records.KEYS)
        for key in self._backend.keys(tenant):
            self._forget(key)
            erased["keys"] += 1
        modules = []
        for bucket in (records.RULES, records.SIGNING_KEYS, records.CONSUMERS, records.REPLAYS):
            registry.catch_up(bucket)
            for name, value in registry.items(bucket).items():
                if name.partition(".")[0] == tenant:
                    modules += [module_of(value)] if bucket == records.CONSUMERS else []
                    registry.purge(bucket, name)
                    erased[bucket] += 1
        registry.purge_subject(LOGS_STREAM, log_subject(tenant, "*"))
        registry.purge_subject(f"KV_{records.IDEMPOTENCY}", f"$KV.{records.IDEMPOTENCY}.{tenant_key(tenant, '*')}")
        for module in filter(None, modules):
            self._backend.modules.release(module)
        if registry.entry(records.TENANTS, tenant) is not None:
            registry.purge(records.TENANTS, tenant)
            erased["tenants"] += 1
        return erased

    def _data(self, tenant: str) -> Counter[str]:
        """In the order in which events flow."""
        registry = self._backend.registry
        streams = (RAW_STREAM, EVENTS_STREAM, RESULTS_STREAM, USAGE_STREAM, REPLAYS_STREAM)
        return (
            Counter(
                {
                    "messages": sum(registry.purge_subject(stream, subject(stream, tenant)) for stream in streams),
                    "dead_letters": registry.purge_subject(DEADLETTER_STREAM, deadletter_subject("*", tenant)),
                    "events": self._backend.store.erase(tenant),
                    "rows": self._backend.analytics.erase(tenant),
                }
            )
            - Counter()
        )


async def _drop(wanted: LetterFilter, cursor: str | None, client: Client) -> Swept:
    return await LetterBox(client).drop_all(wanted, cursor)
