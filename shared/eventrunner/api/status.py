"""How full the streams are, who is behind, and what an operator has to do about it."""

from __future__ import annotations

import asyncio
from typing import Any

from flask import Request, Response
from nats.aio.client import Client

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_admin
from eventrunner.api.bodies import refuse_unknown
from eventrunner.errors import Unavailable
from eventrunner.source.levels import Level, read_level
from eventrunner.stage.answers import json_response
from eventrunner.storage.jetstream import JetStreamApi, JetStreamError
from eventrunner.tenancy import STREAMS

__all__ = ["StatusCalls"]

_PATIENCE = 15.0


class StatusCalls:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def get(self, request: Request, identity: Identity) -> Response:
        check_admin(identity)
        refuse_unknown(request.args, frozenset())
        levels = self._backend.registry.run(_read, _PATIENCE)
        return json_response(
            {
                "streams": [_document(level) for level in levels],
                "problems": [problem for level in levels for problem in level.problems()],
            }
        )


async def _read(client: Client) -> list[Level]:
    api = JetStreamApi(client)
    try:
        return await asyncio.gather(*(read_level(api, stream) for stream in STREAMS))
    except JetStreamError as error:
        raise Unavailable(f"The streams cannot be read: {error.description}.") from error


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
