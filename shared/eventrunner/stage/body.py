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
_FORGOTTEN: Final = 16 * 1024 * 1024
"""Bytes beyond the limit that are taken in for the sender's sake."""
_CHUNK: Final = 64 * 1024


def limit_body(request: Request, limit: int) -> None:
    """From here on, reading beyond the limit raises BodyTooLarge; a longer declared length does so at once."""
    request.stream = cast(IO[bytes], _LimitedBody(request.stream, limit))
    declared = request.content_length
    if declared is not None and declared > limit:
        raise BodyTooLarge(f"The body has {declared} bytes; the limit of this call is {limit}.")


def leave_body(request: Request) -> None:
    """For when the answer is made. Of a body that was limited, some MiB of what is left are read and forgotten: many a
    sender looks for the answer when all is sent, and Oathkeeper answers 502 when it cannot send on. What is longer is
    left where it is: the server closes the connection."""
    stream, request.stream = request.stream, io.BytesIO()
    if isinstance(stream, _LimitedBody):
        with contextlib.suppress(ClientDisconnected, OSError):
            stream.forget(request.content_length)


class _LimitedBody:
    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._left = limit

    def forget(self, declared: int | None) -> None:
        """Nothing, of a declared length that would be left all the same."""
        left = self._limit + _FORGOTTEN
        if declared is None or declared <= left:
            left -= self._limit - self._left
            while left > 0 and (data := self._stream.read(min(_CHUNK, left))):
                left -= len(data)

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
