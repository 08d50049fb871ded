"""What asynchronous functions share: every error leaves as a problem document, health and metrics are answered."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from eventrunner.errors import BodyTooLarge, EventRunnerError, NotFound, Unauthenticated
from eventrunner.telemetry import METRICS_CONTENT_TYPE, REQUEST_SECONDS, metrics_page

__all__ = ["answered", "page", "read_body"]

_log = logging.getLogger(__name__)


async def answered(stage: str, request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """Raises nothing."""
    started = time.perf_counter()
    try:
        response = await answer(request)
    except EventRunnerError as error:
        response = _problem(error)
    except ClientDisconnect:
        response = Response(status_code=HTTPStatus.BAD_REQUEST)
    except Exception:
        _log.exception("a request failed")
        response = _problem(EventRunnerError(f"{stage} failed on this request; see its log."))
    REQUEST_SECONDS.labels(stage, response.status_code).observe(time.perf_counter() - started)
    return response


def page(request: Request) -> Response:
    """`/healthz`, `/readyz` and `/metrics`. Raises NotFound."""
    path = request.url.path
    if path in ("/healthz", "/readyz"):
        return Response("ok\n", media_type="text/plain")
    if path == "/metrics":
        return Response(metrics_page(), headers={"content-type": METRICS_CONTENT_TYPE})
    raise NotFound(f"There is no {request.method} {path}.")


async def read_body(request: Request, limit: int, on_chunk: Callable[[int], None] = lambda size: None) -> bytes:
    """`on_chunk` is told of each chunk's size before the next one is read. Raises BodyTooLarge."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        on_chunk(len(chunk))
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit} bytes; send it in several requests.")


def _problem(error: EventRunnerError) -> Response:
    body = json.dumps(error.problem(), ensure_ascii=False)
    response = Response(body, status_code=int(error.status), media_type="application/problem+json")
    response.headers.update(error.retry_header())
    if isinstance(error, Unauthenticated):
        response.headers["www-authenticate"] = "Bearer"
    return response
