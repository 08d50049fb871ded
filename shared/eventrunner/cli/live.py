"""What the API sends as it comes: a tenant's events as they leave the event engine, and the like."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from eventrunner.cli.calls import path
from eventrunner.cli.connection import Api
from eventrunner.errors import Unavailable

__all__ = ["live_events", "sent_events"]

_PAUSE_SECONDS = 1.0


def live_events(api: Api, tenant: str, type_: str | None) -> AsyncGenerator[str, None]:
    """Each as JSON. As `sent_events`."""
    return sent_events(api, path("events", tenant, "stream", type=type_))


async def sent_events(api: Api, place: str) -> AsyncGenerator[str, None]:
    """The data of the server-sent events of a path. A connection that is lost goes on where it was. Raises ApiError,
    and Unavailable if none was."""
    last, began = None, False
    while True:
        async with contextlib.aclosing(api.stream(place, last)) as events:
            try:
                async for last, text in events:  # noqa: B007
                    began = True
                    yield text
                began = True
            except Unavailable:
                if not began:
                    raise
        await asyncio.sleep(_PAUSE_SECONDS)
