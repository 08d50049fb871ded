"""Ingest over HTTP as an asynchronous functions-framework function."""

from __future__ import annotations

import json
import logging
import math
import time
from http import HTTPStatus

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from eventrunner.access.identity import verify
from eventrunner.budget import Hold
from eventrunner.errors import (
    BodyTooLarge,
    EventRunnerError,
    NotFound,
    QuotaExceeded,
    Unauthenticated,
    Unavailable,
)
from eventrunner.ingest.body import decompress
from eventrunner.ingest.door import Door
from eventrunner.ingest.intake import Intake, read_request
from eventrunner.telemetry import METRICS_CONTENT_TYPE, REQUEST_SECONDS, metrics_page

__all__ = ["HttpIngest"]

_log = logging.getLogger(__name__)
_STAGE = "ingest-http"
_ACCEPTED = b'{"accepted":%d,"rejected":[]}'


class HttpIngest:
    """`POST /api/v1/events` of the contract."""

    def __init__(self) -> None:
        self._door = Door(_STAGE)

    async def main(self, request: HttpRequest) -> Response:
        if request.method in ("GET", "HEAD"):
            return _page(request.url.path)
        started = time.perf_counter()
        try:
            response = await self._accept(request)
        except EventRunnerError as error:
            response = _problem(error)
        except ClientDisconnect:
            response = Response(status_code=HTTPStatus.BAD_REQUEST)
        except Exception:
            _log.exception("a request failed")
            response = _problem(EventRunnerError("Ingest failed on this request; see its log."))
        REQUEST_SECONDS.labels(_STAGE, response.status_code).observe(time.perf_counter() - started)
        return response

    async def _accept(self, request: HttpRequest) -> Response:
        if request.url.path != "/api/v1/events":
            raise NotFound(f"There is no {request.method} {request.url.path}.")
        headers, limit = request.headers, self._door.settings.max_body_bytes
        identity = verify(headers.get("authorization"), self._door.settings.gateway_secret)
        await self._door.open()
        query = dict(request.query_params)
        with self._door.visit(identity, query.get("tenant")) as visit:
            raw = await _read_body(request, limit, visit.hold)
            body = decompress(raw, headers.get("content-encoding", ""), limit)
            visit.hold.add(len(body) if body is not raw else 0)
            intake = read_request(self._door.request(visit, headers, query, body, headers.get("traceparent")))
            await self._door.store(intake)
        if not intake.accepted:
            raise intake.refusal()
        return _accepted(intake)


async def _read_body(request: HttpRequest, limit: int, hold: Hold) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise BodyTooLarge(f"The body is larger than {limit} bytes; send it in several requests.")
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge(f"The body is larger than {limit} bytes; send it in several requests.")
        hold.add(len(chunk))
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _accepted(intake: Intake) -> Response:
    if not intake.rejected:
        body = _ACCEPTED % intake.count
    else:
        rejected = [rejection.to_json() for rejection in intake.rejected]
        body = json.dumps({"accepted": intake.count, "rejected": rejected}, ensure_ascii=False).encode()
    return Response(body, status_code=HTTPStatus.ACCEPTED, media_type="application/json")


def _page(path: str) -> Response:
    if path in ("/healthz", "/readyz"):
        return Response("ok\n", media_type="text/plain")
    if path == "/metrics":
        return Response(metrics_page(), headers={"content-type": METRICS_CONTENT_TYPE})
    return _problem(NotFound(f"There is no GET {path}."))


def _problem(error: EventRunnerError) -> Response:
    body = json.dumps(error.problem(), ensure_ascii=False)
    response = Response(body, status_code=int(error.status), media_type="application/problem+json")
    if isinstance(error, QuotaExceeded | Unavailable):
        response.headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, Unauthenticated):
        response.headers["www-authenticate"] = "Bearer"
    return response
