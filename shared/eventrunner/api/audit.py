"""The audit log: who changed what, when and by which call, in the stream AUDIT. It never holds what was written, so it
holds no secret."""

from __future__ import annotations

import functools
import logging
from typing import Any, Final

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
from eventrunner.errors import EventRunnerError
from eventrunner.events.event import micros
from eventrunner.stage.answers import json_response
from eventrunner.stage.http import RouteHandler
from eventrunner.storage.cursors import decode_cursor, encode_cursor
from eventrunner.storage.stream_reader import StoredMessage, read_stream
from eventrunner.tenancy import AUDIT_STREAM, PLATFORM, check_tenant, is_tenant, subject

__all__ = ["AuditCalls", "AuditEntry", "AuditLog"]

_log = logging.getLogger(__name__)
_TIMEOUT: Final = 5.0
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
    status: int
    """Of the answer; an error's where something was changed before it."""
    writes: list[Write]
    """To the registry; a call may change something else, such as dead letters, and nothing there."""
    request: str = ""
    """Its trace parent."""


class AuditLog:
    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock

    def audited(self, call: str, handler: RouteHandler) -> RouteHandler:
        """The handler, of which every change is written down before it is answered."""

        @functools.wraps(handler)
        def handle(request: Request, identity: Identity, **parameters: str) -> Response:
            with recorded() as writes:
                try:
                    response = handler(request, identity, **parameters)
                except EventRunnerError as error:
                    if writes:
                        self._write(request, identity, call, int(error.status), writes, parameters)
                    raise
            self._write(request, identity, call, response.status_code, writes, parameters)
            return response

        return handle

    def _write(
        self, request: Request, identity: Identity, call: str, status: int, writes: list[Write], named: dict[str, str]
    ) -> None:
        entry = AuditEntry(
            format_time(self._clock()),
            identity.subject,
            identity.tenant,
            identity.roles,
            call,
            request.path,
            status,
            writes,
            request.headers.get("traceparent", ""),
        )
        tenant = named.get("tenant", PLATFORM)
        name = subject(AUDIT_STREAM, tenant if is_tenant(tenant) else PLATFORM)

        async def publish(client: Client) -> None:
            await client.jetstream().publish(name, msgspec.json.encode(entry), timeout=_TIMEOUT)

        try:
            self._backend.registry.run(publish, 2 * _TIMEOUT)
        except (NatsError, OSError, TimeoutError, EventRunnerError) as error:
            # The change is made and cannot be taken back for this; whoever keeps logs has it here.
            _log.error("not in the audit log (%s): %s", error, msgspec.json.encode(entry).decode())


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
            place["sequence"] = decode_cursor(cursor, tuple[int])[0]
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
