"""What cannot be read as HTTP is neither logged nor sent back: it may be a credential that was cut wrongly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import pytest
from aiohttp import web
from eventrunner.http_server import Server
from eventrunner.local.activator import Activator
from eventrunner.local.broker import BrokerEndpoint
from eventrunner.local.gateway import Gateway, Upstream
from eventrunner.local.sinks import Sinks
from eventrunner.source.adapter import Adapter
from support_identity import SIGNER
from support_nats import free_port

SECRET = b"er_PLANTEDSECRET"
UNREADABLE = {
    "a NUL in a header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\x00\r\n\r\n",
    "bare line feeds": b"GET /healthz HTTP/1.1\nHost: x\nAuthorization: Bearer %s\n\n",
    "a folded header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n %s\r\n\r\n",
    "a header without a colon": b"GET /healthz HTTP/1.1\r\nHost: x\r\nBearer %s\r\n\r\n",
    "a header for a request line": b"Authorization: Bearer %s\r\nHost: x\r\n\r\n",
    "a request line of two": b"GET /healthz?key=%s HTTP/9.9\r\nHost: x\r\n\r\n",
    "a long header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s" + b"x" * 10_000 + b"\r\n\r\n",
    "a chunk without a size": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n\r\n",
}
"""`%s` is where the secret is."""
Serve = Callable[[], AbstractAsyncContextManager[int]]


@contextlib.asynccontextmanager
async def _gateway() -> AsyncIterator[int]:
    gateway = Gateway(
        (), cast(Any, None), cast(Upstream, None), signer=SIGNER, max_body_bytes=1000, max_held_bytes=1000
    )
    async with _site(gateway.runner()) as port:
        yield port


@contextlib.asynccontextmanager
async def _site(runner: web.ServerRunner) -> AsyncIterator[int]:
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _broker() -> AsyncIterator[int]:
    broker = BrokerEndpoint((), (), cast(Activator, None), signer=SIGNER, max_body_bytes=1000)
    try:
        yield _port(await broker.start())
    finally:
        await broker.close()


@contextlib.asynccontextmanager
async def _sinks() -> AsyncIterator[int]:
    sinks = Sinks(cast(Activator, None))
    try:
        yield _port((await sinks.start(["echo"]))["echo"])
    finally:
        await sinks.close()


@contextlib.asynccontextmanager
async def _adapter() -> AsyncIterator[int]:
    port, stopping = free_port(), asyncio.Event()
    adapter = Adapter([], f"nats://127.0.0.1:{free_port()}", metrics_port=port)
    running = asyncio.create_task(adapter.run(stopping))
    try:
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(_is_listening, port):
                await asyncio.sleep(0.02)
        yield port
    finally:
        stopping.set()
        await running


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _is_listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10):
        return True
    return False


def _exchange(port: int, request: bytes) -> bytes:
    """Everything that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(65536):
                answer += chunk
    return answer


async def _sent(serve: Serve, request: bytes) -> bytes:
    async with serve() as port:
        return await asyncio.to_thread(_exchange, port, request)


@pytest.mark.parametrize("serve", [_gateway, _broker, _sinks, _adapter])
@pytest.mark.parametrize("request_bytes", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_400_and_stays_unknown(
    serve: Serve, request_bytes: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    head, _, body = asyncio.run(_sent(serve, request_bytes % SECRET)).rpartition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") or head.startswith(b"HTTP/1.0 400 ")
    assert b"content-type: application/problem+json" in head.lower()
    assert json.loads(body)["type"] == "urn:eventrunner:error:malformed-request"
    everything = body.decode() + caplog.text + "".join(capfd.readouterr())
    assert "PLANTED" not in everything
    said = [record for record in caplog.records if record.name == "eventrunner.http_server"]
    assert [(record.levelno, record.exc_info) for record in said] == [(logging.INFO, None)]


def test_a_handler_that_fails_is_500_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: web.BaseRequest) -> web.StreamResponse:
        raise RuntimeError("a fault")

    @contextlib.asynccontextmanager
    async def serve() -> AsyncIterator[int]:
        async with _site(web.ServerRunner(Server(fail))) as port:
            yield port

    answer = asyncio.run(_sent(serve, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["status"] == 500
    assert b"a fault" not in answer
    assert "RuntimeError: a fault" in caplog.text
