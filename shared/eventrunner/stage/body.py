"""How much of a request's body a function takes, whatever is sent.

functions-framework reads what a function has left of a body after the answer, to its end and into memory (its
`read_request`). Werkzeug's own limit cuts a body of no declared length short without a word.
"""

from __future__ import annotations

import contextlib
import io
from typing import IO, Final, cast

from flask import Request
from werkzeug.exceptions import ClientDisconnected

from eventrunner.errors import BodyTooLarge

__all__ = ["BODY_LIMIT", "leave_body", "limit_body"]

BODY_LIMIT: Final = 1024 * 1024
"""Bytes of a call that needs no more."""
_CHUNK: Final = 64 * 1024


def limit_body(request: Request, limit: int) -> None:
    """From here on, reading beyond the limit raises BodyTooLarge; a longer declared length does so at once."""
    declared = request.content_length
    if declared is not None and declared > limit:
        raise BodyTooLarge(f"The body has {declared} bytes; the limit of this call is {limit}.")
    request.stream = cast(IO[bytes], _LimitedBody(request.stream, limit))


def leave_body(request: Request) -> None:
    """For when the answer is made. What is left within the limit is read and forgotten, because many a sender looks for
    the answer only when all is sent; what is beyond it is not read: the server closes the connection."""
    stream, request.stream = request.stream, io.BytesIO()
    if isinstance(stream, _LimitedBody):
        with contextlib.suppress(BodyTooLarge, ClientDisconnected, OSError):
            while stream.read(_CHUNK):
                pass


class _LimitedBody:
    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._left = limit

    def read(self, size: int = -1) -> bytes:
        """All of it without a size. Raises BodyTooLarge."""
        if size >= 0:
            return self._take(size)
        parts = []
        while part := self._take(self._left + 1):
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take(self, size: int) -> bytes:
        data = self._stream.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise BodyTooLarge(f"The body has more than {self._limit} bytes, the limit of this call.")
        return data
