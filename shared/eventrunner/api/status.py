"""How full the streams are, who is behind, and what an operator has to do about it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

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
from eventrunner.storage.refusing_sinks import REFUSING_SINKS_SECONDS, REFUSING_SINKS_SUBJECT, RefusingSinks
from eventrunner.tenancy import DEADLETTER_STREAM, STREAMS

__all__ = ["StatusCalls"]

_PATIENCE = 15.0
_MAY_BE_FULL = 0.3
"""Of DEADLETTER: below it no tenant's share is full."""
_WAITING = timedelta(seconds=3)
"""A message that nobody has acked for so long may wait for a sink."""
T = TypeVar("T")


class StatusCalls:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def get(self, request: Request, identity: Identity) -> Response:
        check_admin(identity)
        refuse_unknown(request.args, frozenset())
        levels, full, refusing = self._backend.registry.run(_read, _PATIENCE)
        problems = [problem for level in levels for problem in level.problems()]
        problems += [FullLetters.describe(tenant, size) for tenant, size in sorted(full.items())]
        problems += [problem for _, problem in sorted(refusing.items())]
        return json_response({"streams": [_document(level) for level in levels], "problems": problems})


async def _read(client: Client) -> tuple[list[Level], Mapping[str, int], Mapping[str, str]]:
    """The streams, the tenants with as many dead letters as they may have, and what is to be done about sinks that
    answer 401."""
    api = JetStreamApi(client)
    try:
        levels = await asyncio.gather(*(read_level(api, stream) for stream in STREAMS))
    except JetStreamError as error:
        raise Unavailable(f"The streams cannot be read: {error.description}.") from error
    letters = next(level for level in levels if level.stream == DEADLETTER_STREAM)
    full: dict[str, int] = {}
    refusing: dict[str, str] = {}
    hearing = []
    if letters.fill > _MAY_BE_FULL:
        hearing.append(_hear(client, FULL_LETTERS_SUBJECT, FULL_LETTERS_SECONDS, _letters_in, full))
    if any(level.waits_for(_WAITING) for level in levels):
        hearing.append(_hear(client, REFUSING_SINKS_SUBJECT, REFUSING_SINKS_SECONDS, _sinks_in, refusing))
    await asyncio.gather(*hearing)
    return levels, full, refusing


def _letters_in(data: bytes) -> Mapping[str, int]:
    return FullLetters.decode(data).tenants


def _sinks_in(data: bytes) -> Mapping[str, str]:
    return RefusingSinks.decode(data).problems()


async def _hear(
    client: Client, subject: str, period: float, read: Callable[[bytes], Mapping[str, T]], heard: dict[str, T]
) -> None:
    """Adds what the adapters tell meanwhile."""

    async def hear(message: Msg) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            heard.update(read(message.data))

    try:
        subscription = await client.subscribe(subject, cb=hear)
        await asyncio.sleep(1.5 * period)
        await subscription.unsubscribe()
    except (NatsError, OSError) as error:
        raise Unavailable(f"The adapters cannot be heard: {error!r}.") from error


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
