"""Errors as problem documents (RFC 9457) on the ports of the local platform."""

from __future__ import annotations

import json

from aiohttp import web

from eventrunner.errors import EventRunnerError

__all__ = ["problem_response"]


def problem_response(error: EventRunnerError) -> web.Response:
    body = json.dumps(error.problem()).encode()
    response = web.Response(status=error.status, body=body, content_type="application/problem+json")
    response.headers.update(error.retry_header())
    return response
