"""Bodies of requests on the ports of the local platform."""

from __future__ import annotations

from aiohttp import web

from eventrunner.errors import BodyTooLarge

__all__ = ["read_body"]


async def read_body(request: web.BaseRequest, limit: int) -> bytes:
    """The whole body, still compressed if it was. Raises BodyTooLarge."""
    chunks: list[bytes] = []
    size = 0
    while chunk := await request.content.readany():
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge(f"The body has more than {limit} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)
