"""The one public port on one machine: what Oathkeeper and OPA do in production, by the same access rules and policy.

A request passes if a rule matches its exact path, a credential names its caller and the policy allows it; it is then
forwarded with the gateway's signed identity in place of whatever the caller sent to prove itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from prometheus_client import Counter, Histogram

from eventrunner.access.access_rules import AccessRule
from eventrunner.access.authorizer import Authorizer
from eventrunner.access.identity import Signer
from eventrunner.access.routing import MethodNotAllowed, Router
from eventrunner.budget import ByteBudget, Hold
from eventrunner.errors import (
    BodyTooLarge,
    EventRunnerError,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from eventrunner.http_body import read_body
from eventrunner.http_server import Server, problem_response
from eventrunner.telemetry import METRICS_CONTENT_TYPE, metrics_page

__all__ = ["Gateway", "Upstream"]

_log = logging.getLogger(__name__)

_REQUESTS = Counter("eventrunner_gateway_requests_total", "Requests by access rule and status.", ["rule", "status"])
_SECONDS = Histogram(
    "eventrunner_gateway_request_duration_seconds",
    "Time from the head of a request to the end of its answer.",
    ["rule"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

# RFC 9110 section 7.6.1, and what a gateway states anew.
_HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length"}
)
_NOT_FORWARDED: Final = _HOP_BY_HOP | {
    "authorization",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "proxy-authorization",
    "x-api-key",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
}
_NOT_RETURNED: Final = _HOP_BY_HOP | {"date", "server"}
_WHOLE_RESPONSE_BYTES: Final = 1024 * 1024
"""Answers up to this length are sent in one write; longer and open-ended ones as they come."""
_PUBLIC_BODY_BYTES: Final = 4096
"""Of a call that nobody needs credentials for, and no body either."""


class Upstream(Protocol):
    """The functions behind the gateway."""

    async def send(
        self, service: str, method: str, path_qs: str, headers: Mapping[str, str], body: bytes
    ) -> aiohttp.ClientResponse:
        """Answers once the head of the response is there. `path_qs` goes out as it is (`URL(…, encoded=True)`),
        redirects are not followed, and the body is not decompressed.

        Raises Unavailable, aiohttp.ClientError, TimeoutError or OSError when the service cannot be reached.
        """
        ...


class Gateway:
    def __init__(
        self,
        rules: tuple[AccessRule, ...],
        authorizer: Authorizer,
        upstream: Upstream,
        *,
        signer: Signer,
        max_body_bytes: int,
        max_held_bytes: int,
        max_bytes_by_rule: Mapping[str, int] | None = None,
        is_ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._router = Router(rules)
        self._authorizer = authorizer
        self._upstream = upstream
        self._signer = signer
        self._max_body_bytes = max_body_bytes
        self._max_bytes_by_rule = max_bytes_by_rule or {}
        self._budget = ByteBudget(max_held_bytes)
        self._is_ready = is_ready
        self._counters: dict[tuple[str, int], Counter] = {}
        self._timers = {rule.id: _SECONDS.labels(rule.id) for rule in rules}
        self._own: dict[str, Callable[[], web.Response]] = {
            "healthz": lambda: web.Response(text="ok\n"),
            "readyz": self._readiness,
            "metrics-get": _metrics,
        }
        """What the gateway answers itself, by access rule."""

    def runner(self) -> web.ServerRunner:
        """Serves this gateway; the caller adds the site and cleans up."""
        server = Server(self.handle, auto_decompress=False, lingering_time=2)
        return web.ServerRunner(server, shutdown_timeout=10)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers every request; errors leave as problem documents."""
        path = request.raw_path.partition("?")[0]
        rule_id = "none"
        started = time.perf_counter()
        try:
            rule, tenant = self._router.find(request.method, path)
            rule_id = rule.id
            response = await self._pass(request, rule, tenant)
        except EventRunnerError as error:
            response = _problem(error, path)
        except ConnectionResetError:
            request.protocol.force_close()
            raise
        except Exception:
            _log.exception("%s %s failed", request.method, path)
            response = _problem(EventRunnerError("The gateway failed on this request; see its log."), path)
        self._observe(rule_id, response.status, time.perf_counter() - started)
        return response

    async def _pass(self, request: web.BaseRequest, rule: AccessRule, tenant: str) -> web.StreamResponse:
        identity = await self._authorizer.authorize(request.headers, rule.credentials, rule.permission, tenant)
        with self._budget.hold(identity.tenant or identity.subject) as hold:
            body = await self._body(request, hold, self._limit(rule)) if request.body_exists else b""
            own = self._own.get(rule.id)
            if own is not None:
                return own()
            headers = _forwarded(request)
            headers["Authorization"] = "Bearer " + self._signer.sign(identity)
            try:
                answer = await self._upstream.send(rule.service, request.method, request.raw_path, headers, body)
                # The body has been taken, so what it held is free while the answer is passed on, however long.
                hold.give_back()
                return await _returned(request, answer)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                _log.warning("%s cannot be reached: %r", rule.service, error)
                raise Unavailable(f"The service {rule.service} cannot be reached just now; try again.") from error

    def _limit(self, rule: AccessRule) -> int:
        if rule.permission is None:
            return _PUBLIC_BODY_BYTES
        return self._max_bytes_by_rule.get(rule.id, self._max_body_bytes)

    async def _body(self, request: web.BaseRequest, hold: Hold, limit: int) -> bytes:
        announced = request.content_length
        if announced is not None and announced > limit:
            raise BodyTooLarge(f"The body has {announced} bytes; the limit is {limit}.")
        if "Expect" in request.headers:
            await _continue(request)
        return await read_body(request, limit, hold.add)

    def _readiness(self) -> web.Response:
        ready = self._is_ready()
        return web.Response(text="ready\n" if ready else "starting\n", status=200 if ready else 503)

    def _observe(self, rule: str, status: int, seconds: float) -> None:
        counter = self._counters.get((rule, status))
        if counter is None:
            counter = self._counters[rule, status] = _REQUESTS.labels(rule, status)
        counter.inc()
        if rule in self._timers:
            self._timers[rule].observe(seconds)


def _forwarded(request: web.BaseRequest) -> CIMultiDict[str]:
    """The caller's headers without its credentials, what it says of the way here, and what concerns one hop only.

    A name with `_` is left out too: servers take it for the same name with `-`, or for a variable of their own.
    """
    headers = CIMultiDict[str]()
    named = _named_by_connection(request.headers.getall("Connection", ()))
    for name, value in request.headers.items():
        lower = name.lower()
        if lower not in _NOT_FORWARDED and lower not in named and "_" not in lower:
            headers.add(name, value)
    headers["X-Forwarded-For"] = request.remote or ""
    headers["X-Forwarded-Host"] = request.host
    headers["X-Forwarded-Proto"] = "http"
    return headers


def _named_by_connection(lines: Sequence[str]) -> frozenset[str]:
    return frozenset(name.strip().lower() for line in lines for name in line.split(","))


async def _returned(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    async with answer:
        headers = CIMultiDict(
            (name, value) for name, value in answer.headers.items() if name.lower() not in _NOT_RETURNED
        )
        length = answer.content_length
        if length is not None and length <= _WHOLE_RESPONSE_BYTES:
            return web.Response(status=answer.status, headers=headers, body=await answer.read())
        response = web.StreamResponse(status=answer.status, headers=headers)
        if length is not None:
            response.content_length = length
        await response.prepare(request)
        try:
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
        except (aiohttp.ClientError, TimeoutError) as error:
            # The head is gone: only a broken connection can still say that the answer is not whole.
            raise ConnectionResetError("The service stopped in the middle of its answer.") from error
        await response.write_eof()
        return response


async def _continue(request: web.BaseRequest) -> None:
    if request.headers["Expect"].lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def _problem(error: EventRunnerError, path: str) -> web.Response:
    if isinstance(error, NotFound) and path.startswith("/portal"):
        error = NotFound("The portal is not part of this version. The API is described at /api/v1/openapi.json.")
    response = problem_response(error)
    if isinstance(error, Unauthenticated):
        response.headers["WWW-Authenticate"] = 'Bearer realm="eventrunner"'
    elif isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(error.allow)
    return response


def _metrics() -> web.Response:
    return web.Response(body=metrics_page(), headers={"Content-Type": METRICS_CONTENT_TYPE})
