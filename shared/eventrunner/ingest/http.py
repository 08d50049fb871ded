"""Ingest over HTTP as an asynchronous functions-framework function."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from eventrunner.errors import NotFound
from eventrunner.ingest.body import decompress
from eventrunner.ingest.door import Door
from eventrunner.ingest.intake import Intake, read_request
from eventrunner.stage.asgi import answered, page, read_body

__all__ = ["HttpIngest"]

_STAGE: Final = "ingest-http"
_ACCEPTED: Final = b'{"accepted":%d,"rejected":[]}'


class HttpIngest:
    """`POST /api/v1/events` of the contract."""

    def __init__(self) -> None:
        self._door = Door(_STAGE)

    async def main(self, request: Request) -> Response:
        return await answered(_STAGE, request, self._answer)

    async def _answer(self, request: Request) -> Response:
        if request.method in ("GET", "HEAD"):
            return page(request)
        if request.url.path != "/api/v1/events":
            raise NotFound(f"There is no {request.method} {request.url.path}.")
        headers, limit = request.headers, self._door.settings.max_body_bytes
        identity = await self._door.identify(headers.get("authorization"))
        await self._door.open()
        query = dict(request.query_params)
        with self._door.visit(identity, query.get("tenant")) as visit:
            raw = await read_body(request, limit, visit.hold.add)
            body = decompress(raw, headers.get("content-encoding", ""), limit)
            visit.hold.add(len(body) if body is not raw else 0)
            intake = read_request(self._door.request(visit, headers, query, body, headers.get("traceparent")))
            await self._door.store(intake)
        if intake.is_refused:
            raise intake.refusal()
        return _accepted(intake)


def _accepted(intake: Intake) -> Response:
    if not intake.rejected:
        body = _ACCEPTED % intake.count
    else:
        rejected = [rejection.to_json() for rejection in intake.rejected]
        body = json.dumps({"accepted": intake.count, "rejected": rejected}, ensure_ascii=False).encode()
    return Response(body, status_code=HTTPStatus.ACCEPTED, media_type="application/json")
