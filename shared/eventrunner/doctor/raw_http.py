"""One HTTP/1.1 request, byte by byte as it is written: what clients tidy up is what has to be tried."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from eventrunner.errors import ConfigurationError, Unavailable

__all__ = ["Answer", "RawRequest", "send"]

_CHUNK = 64 * 1024
_SECONDS = 30.0
_MOST = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RawRequest:
    method: str
    target: str
    """As it stands in the request line."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    size: int = 0
    """Length to announce; what the body lacks is filled up."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


async def send(base_url: str, request: RawRequest) -> Answer:
    """Raises Unavailable when nothing answers; a connection that is closed without an answer is status 0."""
    url = urlsplit(base_url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigurationError(f"{base_url!r} is no URL of a gateway: use http://host:port or https://host.")
    secure = url.scheme == "https"
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection(
                url.hostname, url.port or (443 if secure else 80), ssl=secure or None, limit=_MOST
            )
            connection = _second_handle(writer)
            try:
                writing = asyncio.create_task(_write(writer, url.netloc, request))
                answer = await _read(reader)
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
                return answer if answer.status or secure else await _read(_left_over(connection))
            finally:
                connection.close()
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"{base_url} does not answer {request.method} {request.target}: {error!r}.") from error


def _second_handle(writer: asyncio.StreamWriter) -> socket.socket:
    transport_socket: socket.socket = writer.get_extra_info("socket")
    return transport_socket.dup()


def _left_over(connection: socket.socket) -> asyncio.StreamReader:
    """What came before a reset: asyncio drops the connection when writing fails, unread answer and all."""
    reader = asyncio.StreamReader(limit=_MOST)
    with contextlib.suppress(OSError):
        while data := connection.recv(_CHUNK):
            reader.feed_data(data)
    reader.feed_eof()
    return reader


async def _write(writer: asyncio.StreamWriter, host: str, request: RawRequest) -> None:
    length = max(request.size, len(request.body))
    headers = {"Host": host, "Connection": "close", **request.headers}
    if length or request.method in ("POST", "PUT"):
        headers["Content-Length"] = str(length)
    lines = [f"{request.method} {request.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + request.body)
    left = length - len(request.body)
    while left > 0:
        writer.write(b"x" * min(left, _CHUNK))
        await writer.drain()
        left -= _CHUNK


async def _read(reader: asyncio.StreamReader) -> Answer:
    try:
        status = (await reader.readline()).split(b" ")
        if len(status) < 2 or not status[1].isdigit():
            return Answer(0, b"")
        with contextlib.suppress(ConnectionError, ValueError):
            while (await reader.readline()).strip():
                pass
            return Answer(int(status[1]), await reader.read(_MOST))
        return Answer(int(status[1]), b"")
    except ConnectionError:
        return Answer(0, b"")
