"""A proxy between the adapter and a function that answers wrongly when it is told to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from eventrunner.errors import Unavailable
from eventrunner.events.headers import COUNT_HEADER
from eventrunner.http_body import read_body
from eventrunner.local.upstream import Body
from multidict import CIMultiDict

__all__ = ["MISBEHAVIOURS", "Misbehaviour", "Proxy"]

_HOP_BY_HOP = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})
_MAX_BYTES = 64 * 1024 * 1024
_MAX_EVENTS = 50
"""What a sink takes that answers 413."""


@dataclass(slots=True)
class Call:
    """A request on its way."""

    request: web.BaseRequest
    body: bytes
    forward: Callable[[], Awaitable[web.Response]]
    lifted: asyncio.Event
    """Set when the fault ends."""

    def abort(self) -> web.Response:
        """Breaks the connection; what is returned goes nowhere."""
        if self.request.transport is not None:
            self.request.transport.abort()
        return web.Response(status=500)


Misbehaviour = Callable[[Call], Awaitable[web.StreamResponse]]


async def _fails(call: Call) -> web.StreamResponse:
    return web.Response(status=500, text="out of order")


async def _is_busy(call: Call) -> web.StreamResponse:
    return web.Response(status=429, headers={"Retry-After": "1"})


async def _is_away(call: Call) -> web.StreamResponse:
    return web.Response(status=503)


async def _takes_small_batches(call: Call) -> web.StreamResponse:
    too_large = int(call.request.headers.get(COUNT_HEADER, "1")) > _MAX_EVENTS
    return web.Response(status=413) if too_large else await call.forward()


async def _hangs(call: Call) -> web.StreamResponse:
    await call.lifted.wait()
    return call.abort()


async def _breaks_off(call: Call) -> web.StreamResponse:
    """The work is done, half of the answer comes."""
    answer = await call.forward()
    body = answer.body if isinstance(answer.body, bytes) else b""
    if not body:
        return call.abort()
    half = web.StreamResponse(status=answer.status, headers=answer.headers)
    half.content_length = len(body)
    await half.prepare(call.request)
    await half.write(body[: len(body) // 2])
    call.abort()
    return half


async def _loses_answers(call: Call) -> web.StreamResponse:
    """The work is done, and the answer says that it was not."""
    await call.forward()
    return web.Response(status=502)


async def _talks_garbage(call: Call) -> web.StreamResponse:
    """The work is done, and nobody can read the answer."""
    answer = await call.forward()
    return web.Response(body=os.urandom(500), headers=answer.headers)


MISBEHAVIOURS: dict[str, Misbehaviour] = {
    "answers 500": _fails,
    "answers 429": _is_busy,
    "answers 503": _is_away,
    "answers 413 to large batches": _takes_small_batches,
    "hangs": _hangs,
    "closes half way": _breaks_off,
    "does its work and answers 502": _loses_answers,
    "answers garbage": _talks_garbage,
}


@dataclass(slots=True)
class Proxy:
    service: str
    upstream: Callable[[], str]
    """The URL to forward to; raises Unavailable while there is none."""
    misbehaviour: Misbehaviour | None = None
    _lifted: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.ServerRunner | None = None
    _session: aiohttp.ClientSession | None = None

    async def start(self) -> str:
        self._session = aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0))
        server = web.Server(self._handle, access_log=None, auto_decompress=False)
        self._runner = web.ServerRunner(server, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        self.behave()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def misbehave(self, how: Misbehaviour) -> None:
        self._lifted = asyncio.Event()
        self.misbehaviour = how

    def behave(self) -> None:
        self.misbehaviour = None
        self._lifted.set()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await read_body(request, _MAX_BYTES)

        async def forward() -> web.Response:
            return await self._forward(request, body)

        call = Call(request, body, forward, self._lifted)
        try:
            return await (self.misbehaviour(call) if self.misbehaviour else forward())
        except Unavailable:
            return web.Response(status=503)
        except (aiohttp.ClientError, OSError):
            return call.abort()

    async def _forward(self, request: web.BaseRequest, body: bytes) -> web.Response:
        assert self._session is not None
        headers = _end_to_end(request.headers.items())
        async with self._session.post(self.upstream(), data=Body(body), headers=headers) as answer:
            return web.Response(
                status=answer.status, headers=_end_to_end(answer.headers.items()), body=await answer.read()
            )


def _end_to_end(headers: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP)
