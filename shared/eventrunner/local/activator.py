"""Brings requests to functions: holds them while a function starts, and picks the replica with the fewest."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import aiohttp
from yarl import URL

from eventrunner.errors import Unavailable
from eventrunner.local.functions import Launcher
from eventrunner.local.ports import HOST
from eventrunner.local.revision import Limits, Revision
from eventrunner.local.services import Service

__all__ = ["Activator", "new_session"]

_TRIES: Final = 3
# The function sees the caller's headers and none that this client would make up.
_NO_HEADERS_OF_ITS_OWN: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class _Response(aiohttp.ClientResponse):
    """Tells when it no longer holds its connection, whatever way it came to that."""

    _free: Callable[[], None] | None = None

    def when_done(self, free: Callable[[], None]) -> None:
        self._free = free
        self.content.on_eof(self._done)

    def close(self) -> None:
        super().close()
        self._done()

    def release(self) -> None:
        super().release()
        self._done()

    def _done(self) -> None:
        free, self._free = self._free, None
        if free is not None:
            free()


class _Body(aiohttp.BytesPayload):
    """A whole body. aiohttp's own class warns of every one over 1 MiB: writing it in one go is what is wanted here."""

    def __init__(self, value: bytes) -> None:
        aiohttp.Payload.__init__(self, value, content_type="application/octet-stream")
        self._size = len(value)


def new_session() -> aiohttp.ClientSession:
    """For requests to functions: no cookies, no redirects, no decompression, connections kept for a minute."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        response_class=_Response,
        auto_decompress=False,
        skip_auto_headers=_NO_HEADERS_OF_ITS_OWN,
    )


class Activator:
    def __init__(
        self, services: Iterable[Service], launch: Launcher, session: aiohttp.ClientSession, limits: Limits
    ) -> None:
        self._session = session
        self.revisions = {service.name: Revision(service, launch, limits) for service in services}

    def start(self) -> None:
        """Starts what `min-scale` asks for."""
        for revision in self.revisions.values():
            if revision.service.scaling.min_scale:
                revision.wake()

    async def send(
        self, service: str, method: str, path_qs: str, headers: Mapping[str, str], body: bytes
    ) -> aiohttp.ClientResponse:
        """Answers once the head of the response is there; the caller reads or releases it.

        Raises Unavailable when no replica takes the request, and what aiohttp raises when one fails on the way.
        """
        revision = self.revisions.get(service)
        if revision is None:
            raise Unavailable(f"There is no service {service}.")
        for _ in range(_TRIES):
            replica = await revision.acquire()
            try:
                response = await self._session.request(
                    method,
                    URL(f"http://{HOST}:{replica.port}{path_qs}", encoded=True),
                    headers=headers,
                    data=_Body(body) if body else None,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_read=revision.service.timeout),
                )
            except aiohttp.ClientConnectorError:
                # Never reached, so another replica can have it without doing anything twice.
                revision.release(replica)
                revision.discard(replica)
                continue
            except BaseException:
                revision.release(replica)
                raise
            assert isinstance(response, _Response)
            response.when_done(functools.partial(revision.release, replica))
            return response
        raise Unavailable(f"{service} refuses connections; try again.")

    async def close(self) -> None:
        """Stops all functions, letting requests end first."""
        await asyncio.gather(*(revision.close() for revision in self.revisions.values()))
