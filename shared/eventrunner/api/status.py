"""How full the streams are, who is behind, and what an operator has to do about it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Request, Response
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_admin
from eventrunner.api.bodies import refuse_unknown
from eventrunner.errors import Unavailable
from eventrunner.source.levels import Level, read_level
from eventrunner.stage.answers import json_response
from eventrunner.storage.full_letters import FULL_LETTERS_SECONDS, FULL_LETTERS_SUBJECT, FullLetters
from eventrunner.storage.jetstream import JetStreamApi, JetStreamError
from eventrunner.tenancy import DEADLETTER_STREAM, STREAMS

__all__ = ["StatusCalls"]

_PATIENCE = 15.0
_MAY_BE_FULL = 0.3
"""Of DEADLETTER: below it no tenant's share is full."""


class StatusCalls:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def get(self, request: Request, identity: Identity) -> Response:
        check_admin(identity)
        refuse_unknown(request.args, frozenset())
        levels, full = self._backend.registry.run(_read, _PATIENCE)
        problems = [problem for level in levels for problem in level.problems()]
        problems += [FullLetters.describe(tenant, size) for tenant, size in sorted(full.items())]
        return json_response({"streams": [_document(level) for level in levels], "problems": problems})


async def _read(client: Client) -> tuple[list[Level], Mapping[str, int]]:
    """The streams, and the tenants with as many dead letters as they may have."""
    api = JetStreamApi(client)
    try:
        levels = await asyncio.gather(*(read_level(api, stream) for stream in STREAMS))
    except JetStreamError as error:
        raise Unavailable(f"The streams cannot be read: {error.description}.") from error
    letters = next(level for level in levels if level.stream == DEADLETTER_STREAM)
    return levels, await _full_letters(client) if letters.fill > _MAY_BE_FULL else {}


async def _full_letters(client: Client) -> Mapping[str, int]:
    """What the adapters tell meanwhile."""
    heard: dict[str, int] = {}

    async def hear(message: Msg) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            heard.update(FullLetters.decode(message.data).tenants)

    try:
        subscription = await client.subscribe(FULL_LETTERS_SUBJECT, cb=hear)
        await asyncio.sleep(1.5 * FULL_LETTERS_SECONDS)
        await subscription.unsubscribe()
    except (NatsError, OSError) as error:
        raise Unavailable(f"The adapters cannot be heard: {error!r}.") from error
    return heard


def _document(level: Level) -> dict[str, Any]:
    return {
        "name": level.stream,
        "messages": level.messages,
        "bytes": level.bytes,
        "max_bytes": level.max_bytes,
        "readers": [
            {"name": reader.name, "unread": reader.unread, "since": reader.since or None} for reader in level.readers
        ],
    }
