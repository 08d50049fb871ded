"""Events as they were stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_own
from eventrunner.api.bodies import read_choice, read_limit, read_time, read_word, refuse_unknown
from eventrunner.errors import Conflict, NotFound
from eventrunner.storage.event_store import EventStore
from eventrunner.tenancy import check_tenant

__all__ = ["EventCalls", "find_event"]

_FILTERS = frozenset({"type", "source", "from", "to", "order", "limit", "cursor"})
_DEFAULT_LIMIT = 100
_MAX_LIMIT = 1000


class EventCalls:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def list_all(self, request: Request, identity: Identity, tenant: str) -> Response:
        check_own(identity, tenant)
        arguments = request.args
        if "id" in arguments:
            return self._of_id(arguments, check_tenant(tenant))
        refuse_unknown(arguments, _FILTERS)
        page = self._backend.store.list(
            check_tenant(tenant),
            type=read_word(arguments, "type"),
            source=read_word(arguments, "source"),
            since=read_time("from", arguments.get("from")),
            until=read_time("to", arguments.get("to")),
            newest_first=read_choice(arguments, "order", ("asc", "desc")) == "desc",
            limit=read_limit(arguments.get("limit"), _DEFAULT_LIMIT, _MAX_LIMIT),
            cursor=read_word(arguments, "cursor"),
        )
        return _page(page.bodies, page.next_cursor)

    def _of_id(self, arguments: Mapping[str, str], tenant: str) -> Response:
        """From all sources or one: a page that nothing follows. Not every id can be a segment of a path."""
        refuse_unknown(arguments, frozenset({"id", "source"}))
        event_id, source = read_word(arguments, "id") or "", read_word(arguments, "source")
        return _page(_find(self._backend.store, tenant, event_id, source), None)

    def get(self, request: Request, identity: Identity, tenant: str, event_id: str) -> Response:
        check_own(identity, tenant)
        check_tenant(tenant)
        refuse_unknown(request.args, frozenset({"source"}))
        source = read_word(request.args, "source")
        found = find_event(self._backend.store, tenant, event_id, source)
        return Response(found, content_type="application/cloudevents+json")


def find_event(store: EventStore, tenant: str, event_id: str, source: str | None) -> bytes:
    """Raises NotFound, and Conflict when several sources have an event of that id and none is named."""
    found = _find(store, tenant, event_id, source)
    if not found:
        raise NotFound(f"Tenant {tenant} has no event {event_id}" + (f" from {source}." if source else "."))
    if len(found) > 1:
        sources = ", ".join(map(_source, found))
        raise Conflict(f"Several sources have an event {event_id}; name one with `source`: {sources}.")
    return found[0]


def _find(store: EventStore, tenant: str, event_id: str, source: str | None) -> list[bytes]:
    """By source."""
    if source is None:
        return sorted(store.find(tenant, event_id), key=_source)
    body = store.get(tenant, source, event_id)
    return [] if body is None else [body]


def _source(body: bytes) -> str:
    return str(json.loads(body)["source"])


def _page(bodies: Sequence[bytes], following: str | None) -> Response:
    """The bodies are JSON already and go out as they were stored."""
    body = b'{"events": [' + b",".join(bodies) + b'], "next": ' + json.dumps(following).encode() + b"}"
    return Response(body, content_type="application/json")
