"""The HTTP client in front of functions: passes on what it is given, adds nothing, and tells when it is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import aiohttp

from eventrunner.local.ports import HOST

__all__ = ["Body", "Response", "is_healthy", "new_probe_session", "new_session"]

_HEALTH_TIMEOUT: Final = aiohttp.ClientTimeout(total=1)
# The function sees the caller's headers and none that this client would make up.
_NO_HEADERS_OF_ITS_OWN: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Response(aiohttp.ClientResponse):
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


class Body(aiohttp.BytesPayload):
    """A whole body. aiohttp's own class warns of every one over 1 MiB: writing it in one go is what is wanted here."""

    def __init__(self, value: bytes) -> None:
        aiohttp.Payload.__init__(self, value, content_type="application/octet-stream")
        self._size = len(value)


def new_session() -> aiohttp.ClientSession:
    """For requests to functions: no cookies, no redirects, no decompression, connections kept for a minute."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        response_class=Response,
        auto_decompress=False,
        skip_auto_headers=_NO_HEADERS_OF_ITS_OWN,
    )


def new_probe_session() -> aiohttp.ClientSession:
    """For health checks: no connection is kept, for a server that is stopped would wait for it."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))


async def is_healthy(session: aiohttp.ClientSession, port: int, path: str) -> bool:
    """`session` as from `new_probe_session`."""
    try:
        async with session.get(f"http://{HOST}:{port}{path}", timeout=_HEALTH_TIMEOUT) as response:
            return response.status < 400
    except (aiohttp.ClientError, TimeoutError):
        return False
