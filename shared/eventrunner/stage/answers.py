"""Answers that all functions give alike."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

from flask import Request, Response

from eventrunner.errors import EventRunnerError, MalformedPath, Unauthenticated
from eventrunner.stage.body import leave_body
from eventrunner.telemetry import METRICS_CONTENT_TYPE, REQUEST_SECONDS, current_traceparent, metrics_page

__all__ = ["guarded", "json_response", "problem_response"]

_log = logging.getLogger(__name__)
# `request.path` is without it, so that it would be another one than the gateway has decided on.
_ANOTHER_PATH = "A function is called by its whole path; send the request without a SCRIPT_NAME."


def guarded(name: str, request: Request, answer: Callable[[Request], Response]) -> Response:
    """Probes and scrapes, else what `answer` gives; every error as a problem document, timed under `name`. No more of
    the body is read than `answer` has allowed by `limit_body`. What names a SCRIPT_NAME is refused."""
    try:
        if request.script_root:
            return problem_response(MalformedPath(_ANOTHER_PATH))
        page = _service_response(request)
        return _timed(name, request, answer) if page is None else page
    finally:
        leave_body(request)


def _timed(name: str, request: Request, answer: Callable[[Request], Response]) -> Response:
    started = time.perf_counter()
    token = current_traceparent.set(request.headers.get("traceparent"))
    try:
        response = answer(request)
    except EventRunnerError as error:
        response = problem_response(error)
    except Exception:
        _log.exception("%s: %s %s failed", name, request.method, request.path)
        response = problem_response(EventRunnerError(f"{name} failed on this request; see its log."))
    finally:
        current_traceparent.reset(token)
    REQUEST_SECONDS.labels(name, response.status_code).observe(time.perf_counter() - started)
    return response


def _service_response(request: Request) -> Response | None:
    """The answer to a probe or a scrape; None for any other request."""
    if request.method not in ("GET", "HEAD"):
        return None
    if request.path in ("/healthz", "/readyz"):
        return Response("ok\n", content_type="text/plain")
    if request.path == "/metrics":
        return Response(metrics_page(), content_type=METRICS_CONTENT_TYPE)
    return None


def json_response(document: object, status: int = 200) -> Response:
    return Response(json.dumps(document, ensure_ascii=False), status=status, content_type="application/json")


def problem_response(error: EventRunnerError) -> Response:
    """The error as `application/problem+json` (RFC 9457)."""
    response = Response(
        json.dumps(error.problem(), ensure_ascii=False),
        status=int(error.status),
        content_type="application/problem+json",
    )
    response.headers.update(error.retry_header())
    if isinstance(error, Unauthenticated):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
