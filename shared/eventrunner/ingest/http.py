"""Ingest over HTTP as an asynchronous functions-framework function."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from eventrunner.access.identity import Identity, verify
from eventrunner.budget import ByteBudget, Hold
from eventrunner.clock import format_time, utc_now
from eventrunner.errors import (
    BodyTooLarge,
    EventRunnerError,
    Forbidden,
    NotFound,
    QuotaExceeded,
    Unauthenticated,
    Unavailable,
)
from eventrunner.events import Event
from eventrunner.ids import new_id
from eventrunner.ingest.body import decompress
from eventrunner.ingest.full_letters import FullLetterBoxes
from eventrunner.ingest.intake import Intake, Request, read_request
from eventrunner.ingest.publisher import Publisher, report_failure
from eventrunner.ingest.quotas import Quotas, share
from eventrunner.memory import keep_memory
from eventrunner.settings import Settings
from eventrunner.storage.jetstream import connect
from eventrunner.storage.registry import Mirror
from eventrunner.telemetry import (
    EVENTS_TOTAL,
    METRICS_CONTENT_TYPE,
    REQUEST_SECONDS,
    configure_logging,
    metrics_page,
    traceparent_or_new,
)

__all__ = ["HttpIngest"]

_log = logging.getLogger(__name__)
_STAGE = "ingest-http"
_CONNECT_SECONDS = 5.0
_ACCEPTED = b'{"accepted":%d,"rejected":[]}'


class HttpIngest:
    """`POST /api/v1/events` of the contract; connects on the first request, in the worker's own event loop."""

    def __init__(self) -> None:
        self._settings: Settings | None = None
        self._ready: tuple[Publisher, Quotas] | None = None
        self._connecting: asyncio.Task[tuple[Publisher, Quotas]] | None = None
        self._mirror: Mirror | None = None
        self._sharing: asyncio.Task[None] | None = None
        self._full_letters = FullLetterBoxes()

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
        settings = self._ready_settings()
        identity = verify(request.headers.get("authorization"), settings.gateway_secret)
        publisher, quotas = self._ready or await self._connect(settings)
        tenant = self._tenant(request, identity)
        # Before anything that costs time: who sends too much shall not slow the others.
        quotas.check(tenant)
        self._full_letters.check(tenant)
        with self._budget.hold(tenant or identity.subject) as hold:
            raw = await _read_body(request, settings.max_body_bytes, hold)
            body = decompress(raw, request.headers.get("content-encoding", ""), settings.max_body_bytes)
            hold.add(len(body) if body is not raw else 0)
            intake = read_request(self._request(request, identity, tenant, body, settings))
            EVENTS_TOTAL.labels(_STAGE, "rejected").inc(len(intake.rejected))
            if not intake.accepted:
                raise intake.refusal()
            for owner in intake.accepted:
                self._full_letters.check(owner)
            with _charged(quotas, intake.accepted):
                await publisher.store(intake.accepted)
        EVENTS_TOTAL.labels(_STAGE, "accepted").inc(intake.count)
        return _accepted(intake)

    def _tenant(self, request: HttpRequest, identity: Identity) -> str:
        """Empty for an admin whose events name theirs."""
        named = request.query_params.get("tenant", identity.tenant)
        if named != identity.tenant and "admin" not in identity.roles:
            raise Forbidden(f"This key may not send events of tenant {named!r}.")
        if named and not self._tenant_exists(named):
            raise Forbidden(f"There is no tenant {named!r}.")
        return named

    def _request(
        self, request: HttpRequest, identity: Identity, tenant: str, body: bytes, settings: Settings
    ) -> Request:
        return Request(
            headers=request.headers,
            query=dict(request.query_params),
            body=body,
            tenant=tenant,
            is_admin="admin" in identity.roles,
            tenant_exists=self._tenant_exists,
            received=format_time(utc_now()),
            traceparent=traceparent_or_new(request.headers.get("traceparent")),
            max_event_bytes=settings.max_event_bytes,
            make_id=new_id,
        )

    def _tenant_exists(self, tenant: str) -> bool:
        assert self._mirror is not None
        return self._mirror.get("tenants", tenant) is not None

    def _ready_settings(self) -> Settings:
        if self._settings is None:
            self._settings = Settings.from_env()
            self._budget = ByteBudget(self._settings.max_held_bytes)
            configure_logging(_STAGE, self._settings.log_level)
        return self._settings

    async def _connect(self, settings: Settings) -> tuple[Publisher, Quotas]:
        """All requests that come meanwhile wait for the same attempt. Raises Unavailable when it fails."""
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._open(settings))
            # Retrieves the error, which nobody else does when every client has left.
            self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())
        # A client that leaves takes nobody else's connection with it.
        return await asyncio.shield(self._connecting)

    async def _open(self, settings: Settings) -> tuple[Publisher, Quotas]:
        if self._mirror is None:
            self._mirror = Mirror(settings.nats_url, ("tenants",))
        mirror = self._mirror
        await asyncio.to_thread(mirror.start)
        publisher: Publisher | None = None

        async def lost() -> None:
            if publisher is not None:
                await publisher.disconnected()

        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                client = await connect(settings.nats_url, name=_STAGE, on_disconnect=lost)
        except TimeoutError:
            raise Unavailable("The message store is not reachable; nothing was taken. Try again.") from None
        publisher = Publisher(client, max_events=settings.max_message_events, max_bytes=settings.max_message_bytes)
        await self._full_letters.follow(client)
        quotas = Quotas(lambda tenant: mirror.get("tenants", tenant))
        self._sharing = asyncio.create_task(share(quotas, client))
        self._sharing.add_done_callback(report_failure)
        self._ready = publisher, quotas
        keep_memory()
        return self._ready


@contextmanager
def _charged(quotas: Quotas, accepted: Mapping[str, Sequence[Event]]) -> Iterator[None]:
    """Raises QuotaExceeded when one of the tenants has sent too much; what is not stored costs nothing."""
    costs = [(tenant, len(events), sum(event.usagein for event in events)) for tenant, events in accepted.items()]
    for tenant, _, _ in costs:
        quotas.check(tenant)
    for tenant, events, size in costs:
        quotas.charge(tenant, events, size)
    try:
        yield
    except BaseException:
        for tenant, events, size in costs:
            quotas.charge(tenant, -events, -size)
        raise


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
