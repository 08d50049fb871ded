"""The audit log: who changed what, when and by which call, in the stream AUDIT. It never holds what was written, so it
holds no secret.

It is written ahead: an entry without a status is stored before anything is changed, and where that fails nothing is.
The entry that says what came of it takes its place; one that was refused and changed nothing leaves none. So an entry
that has no status tells of a change that may have been made, and whose end nobody wrote down.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from flask import Request, Response
from nats.aio.client import Client
from nats.errors import Error as NatsError

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_admin, check_own
from eventrunner.api.bodies import read_limit, read_time, read_word, refuse_unknown
from eventrunner.api.pages import DEFAULT_LIMIT, MAX_LIMIT
from eventrunner.api.recording import Write, recorded
from eventrunner.clock import Clock, format_time, from_micros
from eventrunner.errors import EventRunnerError, Unavailable
from eventrunner.events.event import micros
from eventrunner.stage.answers import json_response
from eventrunner.stage.http import RouteHandler
from eventrunner.storage.cursors import Place, decode_cursor, encode_cursor
from eventrunner.storage.stream_reader import StoredMessage, read_stream
from eventrunner.telemetry import is_traceparent
from eventrunner.tenancy import AUDIT_STREAM, PLATFORM, check_tenant, is_tenant, subject

__all__ = ["AuditCalls", "AuditEntry", "AuditLog"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_TIMEOUT: Final = 5.0
_LONGEST: Final = 256
"""Characters of what a caller chooses."""
_LONGEST_NAME: Final = 64
_MOST_ROLES: Final = 4
_MOST_WRITES: Final = 30
_READ_BYTES: Final = 4 * 1024 * 1024


class AuditEntry(msgspec.Struct, omit_defaults=True):
    time: str
    subject: str
    """Who."""
    caller_tenant: str
    roles: tuple[str, ...]
    call: str
    """Method and template, such as `PUT /api/v1/rules/{tenant}/{name}`."""
    thing: str
    """The path."""
    status: int | None
    """Of the answer; an error's where something was changed before it; None if that was never written down."""
    writes: list[Write]
    """To the registry, the first of them; a call may change something else, such as dead letters, and nothing there."""
    request: str = ""
    """Its trace parent."""
    more_writes: int = 0
    """How many came after those in `writes`."""


class AuditLog:
    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock

    def audited(self, call: str, handler: RouteHandler) -> RouteHandler:
        """The handler, of which every change is written down. It raises Unavailable where that cannot be done."""

        @functools.wraps(handler)
        def handle(request: Request, identity: Identity, **parameters: str) -> Response:
            intent = self._entry(request, identity, call)
            name = _subject(parameters)
            place = self._store(name, intent)
            with recorded() as writes:
                try:
                    response = handler(request, identity, **parameters)
                except EventRunnerError as error:
                    may_have_changed = writes or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
                    self._settle(name, place, intent, int(error.status) if may_have_changed else None, writes)
                    raise
            self._settle(name, place, intent, response.status_code, writes)
            return response

        return handle

    def _entry(self, request: Request, identity: Identity, call: str) -> AuditEntry:
        """Of bounded length: a tenant may have so many entries, and none is larger than the stream takes."""
        trace = request.headers.get("traceparent", "")
        return AuditEntry(
            format_time(self._clock()),
            _cut(identity.subject),
            _cut(identity.tenant, _LONGEST_NAME),
            tuple(_cut(role, _LONGEST_NAME) for role in identity.roles[:_MOST_ROLES]),
            call,
            _cut(request.path),
            None,
            [],
            trace if is_traceparent(trace) else "",
        )

    def _settle(self, name: str, place: int, intent: AuditEntry, status: int | None, writes: list[Write]) -> None:
        """Puts what came of it in the place of the intent; without a status, nothing."""
        shown = writes[:_MOST_WRITES]
        entry = msgspec.structs.replace(intent, status=status, writes=shown, more_writes=len(writes) - len(shown))
        try:
            if status is not None:
                self._store(name, entry)
            self._run(lambda client: client.jetstream().delete_msg(AUDIT_STREAM, place))
        except Unavailable as error:
            # The change cannot be taken back for this. The intent stays, and whoever keeps logs has the rest here.
            _log.error("%s %s", error, msgspec.json.encode(entry).decode())

    def _store(self, name: str, entry: AuditEntry) -> int:
        """Returns its place."""
        body = msgspec.json.encode(entry)
        return self._run(lambda client: client.jetstream().publish(name, body, timeout=_TIMEOUT)).seq

    def _run(self, work: Callable[[Client], Coroutine[Any, Any, _T]]) -> _T:
        try:
            return self._backend.registry.run(work, 2 * _TIMEOUT)
        except (NatsError, OSError, TimeoutError, Unavailable) as error:
            raise Unavailable("The audit log cannot be written; nothing is changed without it. Try again.") from error


def _cut(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _subject(named: dict[str, str]) -> str:
    tenant = named.get("tenant", PLATFORM)
    return subject(AUDIT_STREAM, tenant if is_tenant(tenant) else PLATFORM)


class AuditCalls:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def list_all(self, request: Request, identity: Identity, tenant: str) -> Response:
        """The oldest first. What belongs to no tenant, such as plans, is under the platform's name."""
        if tenant == PLATFORM:
            check_admin(identity)
        else:
            check_own(identity, check_tenant(tenant))
        refuse_unknown(request.args, frozenset({"from", "to", "limit", "cursor"}))
        since, until = read_time("from", request.args.get("from")), read_time("to", request.args.get("to"))
        limit = read_limit(request.args.get("limit"), DEFAULT_LIMIT, MAX_LIMIT)
        cursor = read_word(request.args, "cursor")
        place: dict[str, Any] = {}
        if cursor is not None:
            place["sequence"] = decode_cursor(cursor, tuple[Place])[0]
        elif since is not None:
            place["since"] = format_time(from_micros(max(since, 0)))

        async def read(client: Client) -> list[StoredMessage]:
            name = subject(AUDIT_STREAM, tenant)
            return await read_stream(client, AUDIT_STREAM, name, **place, most=limit + 1, max_bytes=_READ_BYTES)

        found = self._backend.registry.run(read, 2 * _TIMEOUT)
        kept = [item for item in found if until is None or micros(item.stored) < until]
        following = kept[limit] if len(kept) > limit else None
        entries = [msgspec.json.decode(item.body) for item in kept[:limit]]
        return json_response(
            {"entries": entries, "next": None if following is None else encode_cursor((following.sequence,))}
        )
