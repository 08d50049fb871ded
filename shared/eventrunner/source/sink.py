"""What a sink is, and the one that speaks HTTP: one request to it, and what its answer means."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Protocol, TypeGuard
from urllib.parse import urlsplit

import aiohttp
import msgspec

from eventrunner.access.senders import audience_of
from eventrunner.errors import InvalidInput
from eventrunner.events.binary import BATCH_TYPE, STRUCTURED_TYPE, is_binary, read_binary, write_binary
from eventrunner.events.headers import COUNT_HEADER, HANDLED_HEADER
from eventrunner.events.json_format import decode_event, encode_event, join_batch
from eventrunner.events.packing import ENCODING, unpack
from eventrunner.events.sections import SECTIONS_HEADER
from eventrunner.source.health import SinkHealth
from eventrunner.source.message import UNPACK_LIMIT, Parcel
from eventrunner.source.outcomes import Delivered, Failed, Outcome, Refused, Reply
from eventrunner.source.spec import Compression, Destination, Format, SourceSpec

__all__ = ["HttpSink", "Sink", "make_session", "sink_audience", "sink_url"]

_RETRYABLE = frozenset(
    {HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
_REASON_BYTES = 1024
_REFUSAL_SECONDS = 5.0
"""A sink that refuses some and takes others is told of as long after each refusal."""
_LARGE = 2**20
"""aiohttp wants larger bodies as files, which it writes in pieces."""

_PATHS = {"Service": "http://{name}.{namespace}.svc.cluster.local"}
_BROKER = "http://broker-ingress.knative-eventing.svc.cluster.local/{namespace}/{name}"


def sink_url(destination: Destination, overrides: Mapping[str, str]) -> str:
    """Where to POST: what `overrides` has for the object's name, else its address in the cluster."""
    if destination.ref is None:
        return destination.uri
    ref = destination.ref
    base = overrides.get(ref.name)
    if base is None:
        template = _BROKER if ref.kind == "Broker" else _PATHS["Service"]
        base = template.format(name=ref.name, namespace=ref.namespace)
    if not destination.uri:
        return base
    return destination.uri if "://" in destination.uri else base.rstrip("/") + "/" + destination.uri.lstrip("/")


def sink_audience(destination: Destination) -> str:
    """Whom a token for the sink is for; empty when it gets none: a URL may be anybody's."""
    ref = destination.ref
    if destination.audience or ref is None or "://" in destination.uri:
        return destination.audience
    return audience_of(ref.api_version, ref.kind, ref.namespace, ref.name)


def make_session() -> aiohttp.ClientSession:
    """One for all sinks; the sources bound the connections by their requests in flight."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=15, use_dns_cache=True),
        headers={"Accept-Encoding": "identity", "User-Agent": "eventrunner-source"},
        read_bufsize=2**18,
        # A packed reply is published as it came.
        auto_decompress=False,
    )


class Sink(Protocol):
    url: str
    """For people."""
    health: SinkHealth

    @property
    def is_signed(self) -> bool:
        """Whether it is sent a token."""

    @property
    def refusal(self) -> str:
        """What it says, while it does not let this adapter in; else empty."""

    async def deliver(self, parcel: Parcel, spec: SourceSpec) -> Outcome:
        """Never raises but for cancellation."""

    async def close(self) -> None: ...


class HttpSink:
    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        health: SinkHealth,
        authorization: Callable[[], str] | None = None,
    ) -> None:
        self.url = _without_secrets(url)
        """For people."""
        self.health = health
        self._target = url
        self._session = session
        self._authorization = authorization
        self._refusal = ""
        self._refuses = False
        self._refused_at = 0.0

    @property
    def is_signed(self) -> bool:
        """Whether it is sent a token."""
        return self._authorization is not None

    @property
    def refusal(self) -> str:
        """What it answers, while that is 401 and for some seconds more; else empty."""
        is_told = self._refuses or asyncio.get_running_loop().time() < self._refused_at + _REFUSAL_SECONDS
        return self._refusal if is_told else ""

    async def deliver(self, parcel: Parcel, spec: SourceSpec) -> Outcome:
        """Never raises but for cancellation. The spec's format is BATCH, or the parcel holds a single event."""
        try:
            headers, body = _request(parcel, spec)
        except InvalidInput as error:
            return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        return await self.post(headers, body, spec.delivery.timeout)

    async def close(self) -> None:
        """The session is everybody's."""

    async def post(self, headers: Mapping[str, str], body: bytes, seconds: float) -> Outcome:
        if self._authorization is not None:
            headers = {**headers, "Authorization": self._authorization()}
        outcome = await self._send(headers, body, seconds)
        self._refuses = _is_unauthorized(outcome)
        if _is_unauthorized(outcome):
            self._refusal, self._refused_at = _said(outcome.reason), asyncio.get_running_loop().time()
        return outcome

    async def _send(self, headers: Mapping[str, str], body: bytes, seconds: float) -> Outcome:
        data: bytes | io.BytesIO = body if len(body) <= _LARGE else io.BytesIO(body)
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(5.0, seconds))
        try:
            async with self._session.post(
                self._target, data=data, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                return _outcome(response.status, response.headers, await response.read())
        except aiohttp.ClientConnectorError as error:
            return Failed(f"cannot connect to {self.url}: {error}", reached=False)
        except TimeoutError:
            return Failed(f"{self.url} gave no answer within {seconds:g} s")
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            return Failed(f"{self.url} broke the connection: {error!r}")


def _request(parcel: Parcel, spec: SourceSpec) -> tuple[dict[str, str], bytes]:
    if spec.format is Format.BATCH:
        headers = {"Content-Type": BATCH_TYPE, COUNT_HEADER: str(parcel.count)}
        if spec.compression is Compression.NONE:
            return headers, parcel.batch()
        headers["Accept-Encoding"] = ENCODING
        if not parcel.packed:
            return headers, parcel.batch()
        headers["Content-Encoding"] = ENCODING
        sections = parcel.sections()
        if sections is None:
            return headers, parcel.packed_batch()
        body, headers[SECTIONS_HEADER] = sections
        return headers, body
    if spec.format is Format.STRUCTURED:
        return {"Content-Type": STRUCTURED_TYPE}, parcel.members()
    return write_binary(decode_event(parcel.members()))


def _outcome(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    if 200 <= status < 300:
        return _delivered(headers, body)
    reason = body[:_REASON_BYTES].decode(errors="replace")
    if status >= 500 or status in _RETRYABLE:
        retry_after = _seconds(headers.get("Retry-After"))
        overloaded = status != HTTPStatus.INTERNAL_SERVER_ERROR and (status in _RETRYABLE or retry_after is not None)
        return Failed(reason or f"status {status}", status, retry_after, overloaded=overloaded)
    return Refused(status, reason)


def _without_secrets(url: str) -> str:
    """Logs, the status and dead letters name sinks, and a third party's URL may hold a password or a token."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _is_unauthorized(outcome: Outcome) -> TypeGuard[Failed]:
    return isinstance(outcome, Failed) and outcome.status == HTTPStatus.UNAUTHORIZED


def _said(reason: str) -> str:
    """The detail of a problem document, else the text itself."""
    try:
        return msgspec.json.decode(reason, type=_Problem).detail or reason
    except msgspec.DecodeError:
        return reason


class _Problem(msgspec.Struct):
    detail: str


def _delivered(headers: Mapping[str, str], body: bytes) -> Outcome:
    outcome = _read(headers, body)
    handled = headers.get(HANDLED_HEADER)
    if handled is None or not isinstance(outcome, Delivered):
        return outcome
    if not (handled.isascii() and handled.isdigit()):
        return Failed(f"the reply has {HANDLED_HEADER}: {handled[:20]!r}, which is no number")
    return replace(outcome, handled=int(handled[:18]))


def _read(headers: Mapping[str, str], body: bytes) -> Outcome:
    content_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    encoding = headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", ENCODING):
        return Failed(f"the reply is encoded as {encoding!r}, which it was not asked for")
    packed = encoding == ENCODING
    if content_type == BATCH_TYPE:
        count = headers.get(COUNT_HEADER, "")
        number = int(count) if count.isascii() and count.isdigit() else None
        sections = headers.get(SECTIONS_HEADER, "")
        return Delivered(Reply(body, content_type, number, sections, packed) if body else None)
    try:
        if packed:
            body = unpack(body, UNPACK_LIMIT)
        if is_binary(headers):
            return Delivered(Reply(join_batch([encode_event(read_binary(headers, body))]), BATCH_TYPE, 1))
    except InvalidInput as error:
        return Failed(f"the reply cannot be read: {error}")
    if content_type == STRUCTURED_TYPE and body:
        return Delivered(Reply(join_batch([body]), BATCH_TYPE))
    return Delivered(Reply(body, content_type) if body else None)


def _seconds(header: str | None) -> float | None:
    """Retry-After: seconds or an HTTP date."""
    if not header:
        return None
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
