"""The way of one event through the system, put together from what the stages have left behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Request, Response
from nats.aio.client import Client

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_own
from eventrunner.api.bodies import read_word, refuse_unknown
from eventrunner.api.events import find_event
from eventrunner.billing.invoices import invoice_id
from eventrunner.billing.periods import Period
from eventrunner.clock import parse_time
from eventrunner.errors import FieldError, InvalidInput, NotFound, Unavailable
from eventrunner.events import Event, decode_event
from eventrunner.events.event import USAGE_ATTRIBUTES
from eventrunner.source.letter_box import LetterBox
from eventrunner.source.letters import Letter, LetterFilter
from eventrunner.storage.analytics import Traced
from eventrunner.tenancy import check_tenant

__all__ = ["TraceCalls"]

_MOST_LETTERS = 100
_PATIENCE = 10.0


class TraceCalls:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def get(self, request: Request, identity: Identity, tenant: str, event_id: str) -> Response:
        """Of an event that is stored, or has a dead letter."""
        check_own(identity, check_tenant(tenant))
        refuse_unknown(request.args, frozenset({"source"}))
        return self._trace(tenant, event_id, read_word(request.args, "source"))

    def find(self, request: Request, identity: Identity, tenant: str) -> Response:
        """The same by `id`, which need not be one that a path can hold."""
        check_own(identity, check_tenant(tenant))
        refuse_unknown(request.args, frozenset({"id", "source"}))
        event_id = read_word(request.args, "id")
        if event_id is None:
            raise InvalidInput("Whose way? Name the event with `id`.", (FieldError("id", "is needed"),))
        return self._trace(tenant, event_id, read_word(request.args, "source"))

    def _trace(self, tenant: str, event_id: str, source: str | None) -> Response:
        letters = [item for item in self._letters(tenant, event_id) if source in (None, item.text("source"))]
        try:
            event = decode_event(find_event(self._backend.store, tenant, event_id, source))
        except NotFound:
            if not letters:
                raise
            event = decode_event(msgspec.json.encode(letters[-1].event()))
            document = _way(event, is_stored=False)
        else:
            document = _way(event, is_stored=True) | {"invoice": self._invoice(event)}
        document |= self._analysed(event)
        document["dead_letters"] = [_without_event(letter) for letter in letters]
        return Response(msgspec.json.encode(document), content_type="application/json")

    def _letters(self, tenant: str, event_id: str) -> list[Letter]:
        async def read(client: Client) -> list[Letter]:
            page = await LetterBox(client).page(LetterFilter(tenant, event_id=event_id), _MOST_LETTERS, None)
            return list(page.letters)

        return self._backend.registry.run(read, _PATIENCE)

    def _analysed(self, event: Event) -> dict[str, Any]:
        """The rest of the trace is worth showing while ClickHouse is away."""
        try:
            traced = self._backend.analytics.trace(*event.identity)
        except Unavailable as error:
            traced = Traced([], [], [])
            missing: dict[str, Any] = {"missing": [f"derived, ended, consumers: {error.detail}"]}
        else:
            missing = {}
        return {"derived": traced.derived, "ended": traced.ended, "consumers": traced.consumers, **missing}

    def _invoice(self, event: Event) -> dict[str, Any] | None:
        """Of the month in which the event was received."""
        if event.receivedtime is None:
            return None
        period = Period.of(parse_time(event.receivedtime))
        identifier = invoice_id(event.tenantid, period)
        body = self._backend.store.get_invoice(event.tenantid, identifier)
        lines = [] if body is None else msgspec.json.decode(body)["lines"]
        meter = "derived_events" if "causeid" in (event.extensions or {}) else "events"
        return {
            "id": identifier,
            "period": str(period),
            "status": "open" if body is None else "final",
            "lines": [line for line in lines if line.get("meter") == meter],
        }


def _way(event: Event, *, is_stored: bool) -> dict[str, Any]:
    more = event.extensions or {}
    return {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "tenant": event.tenantid,
        "received": event.receivedtime,
        "traceparent": event.traceparent,
        "route": more.get("route"),
        "cause": _cause(event, more) if "causeid" in more else None,
        "replay": more.get("replayid"),
        "stored": is_stored,
        "data_changed": "originaldigest" in more,
        "usage": {name: getattr(event, name) for name in USAGE_ATTRIBUTES} if is_stored else None,
    }


def _cause(event: Event, more: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": more["causeid"],
        "source": more.get("causesource", event.source),
        "rule": more.get("causerule"),
        "consumer": more.get("causeconsumer"),
    }


def _without_event(letter: Letter) -> dict[str, Any]:
    return {name: value for name, value in letter.document().items() if name != "event"}
