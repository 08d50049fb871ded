"""Bodies of requests on the ports of aiohttp's servers."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from eventrunner.errors import BodyTooLarge, MalformedBody
from eventrunner.http_server import UNREADABLE

__all__ = ["read_body"]


async def read_body(request: web.BaseRequest, limit: int, on_chunk: Callable[[int], None] = lambda size: None) -> bytes:
    """The whole body, still compressed if it was. `on_chunk` is told of each chunk's size before the next one is read.

    Raises BodyTooLarge, MalformedBody.
    """
    chunks: list[bytes] = []
    size = 0
    try:
        while chunk := await request.content.readany():
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge(f"The body has more than {limit} bytes.")
            on_chunk(len(chunk))
            chunks.append(chunk)
    except UNREADABLE as error:
        raise MalformedBody("The body ended early or is not framed as its headers say.") from error
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
