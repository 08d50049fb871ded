"""Errors as problem documents (RFC 9457) on the ports of the local platform."""

from __future__ import annotations

import json
import math

from aiohttp import web

from eventrunner.errors import EventRunnerError, QuotaExceeded, Unavailable

__all__ = ["problem_response"]


def problem_response(error: EventRunnerError) -> web.Response:
    body = json.dumps(error.problem()).encode()
    response = web.Response(status=error.status, body=body, content_type="application/problem+json")
    if isinstance(error, Unavailable | QuotaExceeded):
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return response
