"""aiohttp's server as every part of the platform uses it: errors are problem documents (RFC 9457), and of a request
that cannot be read nothing but the kind of its fault is logged.

aiohttp's parser quotes what it stumbled upon, which is as often as not a line with somebody's key in it.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from aiohttp import web
from aiohttp.http import HttpProcessingError

from eventrunner.errors import EventRunnerError, InvalidInput

__all__ = ["UNREADABLE", "MalformedRequest", "Server", "problem_response"]

_log = logging.getLogger(__name__)

UNREADABLE: Final = (
    HttpProcessingError,
    aiohttp.ClientPayloadError,
    web.PayloadAccessError,
    web.RequestPayloadError,
)
"""What aiohttp raises for a request, or a body, that is not framed as HTTP has it. Their texts are the sender's."""


@dataclass(eq=False)
class MalformedRequest(InvalidInput):
    code = "malformed-request"
    status = HTTPStatus.BAD_REQUEST


def problem_response(error: EventRunnerError) -> web.Response:
    body = json.dumps(error.problem()).encode()
    response = web.Response(status=error.status, body=body, content_type="application/problem+json")
    response.headers.update(error.retry_header())
    return response


class Server(web.Server):
    """Takes what `aiohttp.web.Server` takes; writes no access log."""

    def __init__(self, handler: Any, **options: Any) -> None:
        super().__init__(handler, access_log=None, **options)

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what the parser or the handler has raised."""
        self.log_exception("a request failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("The answer has begun; only a broken connection can say that it is not whole.")
        response = problem_response(_error_of(exc))
        response.force_close()
        return response

    def log_exception(self, *args: Any, **options: Any) -> None:
        """Of everything that aiohttp cannot go on with."""
        error = options.get("exc_info")
        if isinstance(error, UNREADABLE):
            _log.info("a request that cannot be read is answered %d: %s", MalformedRequest.status, type(error).__name__)
        else:
            _log.error(*args, **options)


def _error_of(error: BaseException | None) -> EventRunnerError:
    if isinstance(error, UNREADABLE):
        return MalformedRequest(
            "The request cannot be read as HTTP/1.1: look at its request line, at the names, values, lengths and line "
            "ends of its headers, and at how its body is framed."
        )
    return EventRunnerError("The server failed on this request; see its log.")
