"""`kind: JetStreamSource`, read from a manifest into values."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from eventrunner.clock import format_time, parse_time
from eventrunner.errors import FieldError, InvalidInput
from eventrunner.source.durations import parse_iso
from eventrunner.source.filters import All, parse_filters
from eventrunner.source.manifests import Fields, Manifest, read_manifests
from eventrunner.source.nats_uri import is_nats, nats_problem
from eventrunner.storage.jetstream import without_secrets

__all__ = [
    "API_VERSION",
    "KIND",
    "Backoff",
    "BatchLimits",
    "Compression",
    "Delivery",
    "Destination",
    "Format",
    "Ordering",
    "Reference",
    "SourceSpec",
    "SubjectPattern",
    "parse_source",
    "read_sources",
]

API_VERSION = "sources.eventrunner.dev/v1alpha1"
KIND = "JetStreamSource"

_NAME = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_DURABLE = r"[^\s.*>/\\]+"
_SUBJECT = r"[^\s.]+(\.[^\s.]+)*"
_TENANT_PLACE = "{tenantid}"
_E = TypeVar("_E", bound=StrEnum)


class Ordering(StrEnum):
    UNORDERED = "Unordered"
    BY_TENANT = "ByTenant"
    """A tenant's events reach the sink in the order of the stream, one request of the tenant at a time."""


class Format(StrEnum):
    BATCH = "batch"
    STRUCTURED = "structured"
    """One event a request."""
    BINARY = "binary"
    """One event a request."""


class Compression(StrEnum):
    """Of the bodies that the sink takes and gives."""

    NONE = "none"
    ZSTD = "zstd"
    """Batches that are packed in the stream stay so; the sink may pack its replies."""


class Backoff(StrEnum):
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True)
class BatchLimits:
    max_events: int = 500
    max_bytes: int = 1024 * 1024
    """Of the request's body; a message larger than that is a request of its own."""
    linger: float = 0.0
    """Seconds that a request may wait to fill up; 0 sends what has arrived."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Knative's DeliverySpec, without its sink."""

    retry: int = 10
    policy: Backoff = Backoff.EXPONENTIAL
    delay: float = 0.2
    timeout: float = 60.0
    retry_after_max: float = 300.0
    """Seconds; a sink's `Retry-After` counts as no more."""
    max_deliver: int = 50
    """A message that has come as often without any outcome is what kills the adapters: it is a dead letter."""

    def backoff(self, attempt: int, jitter: random.Random) -> float:
        """Seconds to wait after the attempt, counted from 1: the policy's, bounded, less up to a half."""
        factor = attempt if self.policy is Backoff.LINEAR else 2 ** min(attempt - 1, 30)
        return min(self.delay * factor, _MAX_BACKOFF) * jitter.uniform(0.5, 1.0)


_MAX_BACKOFF = 30.0


@dataclass(frozen=True, slots=True)
class Reference:
    """A Kubernetes object that has an address."""

    kind: str
    name: str
    namespace: str
    api_version: str = ""


@dataclass(frozen=True, slots=True)
class Destination:
    """Knative's Destination: an object, a URI, or a URI relative to the object's. A sink's URI may be of NATS too."""

    ref: Reference | None = None
    uri: str = ""
    audience: str = ""
    """Whom a token is for; empty: the object's own, and of a plain URI none."""


@dataclass(frozen=True, slots=True)
class SubjectPattern:
    pattern: str

    def of(self, tenant: str) -> str:
        return self.pattern.replace(_TENANT_PLACE, tenant)


@dataclass(frozen=True, slots=True)
class SourceSpec:
    name: str
    namespace: str
    stream: str
    consumer: str
    """Name of the durable consumer, shared by all adapters."""
    sink: Destination
    dead_letter: SubjectPattern
    filter_subject: str = ">"
    start_time: str = ""
    """Older messages are none of this source's; empty: it takes all that the stream has. RFC 3339."""
    batch: BatchLimits = BatchLimits()
    in_flight: int = 1
    """Requests at one time."""
    ordering: Ordering = Ordering.UNORDERED
    delivery: Delivery = Delivery()
    format: Format = Format.BATCH
    compression: Compression = Compression.NONE
    filters: All | None = None
    """An event that does not pass is acked and goes nowhere."""
    reply: SubjectPattern | Destination | None = None
    """Where the sink's results go; None: they are not wanted."""
    usage: SubjectPattern = SubjectPattern("usage.{tenantid}")


def read_sources(paths: Iterable[Path]) -> list[SourceSpec]:
    """Raises ConfigurationError for files that cannot be read and InvalidInput for wrong fields."""
    return [parse_source(manifest) for manifest in read_manifests(paths, (KIND,))]


def parse_source(manifest: Manifest) -> SourceSpec:
    """Raises InvalidInput that names every wrong field."""
    errors: list[FieldError] = []
    top = Fields(manifest, "", errors)
    if (version := top.text("apiVersion")) != API_VERSION:
        top.wrong("apiVersion", f"must be {API_VERSION}, not {version!r}")
    top.choice("kind", (KIND,), KIND)
    metadata = top.fields("metadata")
    name = metadata.text("name", pattern=_NAME)
    namespace = metadata.text("namespace", "default")
    spec = top.fields("spec")
    sink = _required_destination(spec, namespace)
    nats = is_nats(sink.uri)
    source = SourceSpec(
        name=name,
        namespace=namespace,
        stream=spec.text("stream", pattern=_DURABLE),
        consumer=spec.text("consumer", name or "?", pattern=_DURABLE),
        filter_subject=spec.text("filterSubject", ">", pattern=_SUBJECT),
        start_time=_time(spec, "startTime"),
        batch=_batch(spec.fields("batch")),
        in_flight=spec.integer("inFlight", 1, 1),
        ordering=_choice(spec, "ordering", Ordering, Ordering.UNORDERED),
        delivery=_delivery(spec.fields("delivery")),
        format=_choice(spec, "format", Format, Format.STRUCTURED if nats else Format.BATCH),
        compression=_choice(spec, "compression", Compression, Compression.NONE),
        filters=parse_filters(spec.sequence("filters"), "spec.filters", errors),
        sink=sink,
        reply=_reply(spec, namespace),
        usage=_subject(spec, "usage", "usage.{tenantid}"),
        dead_letter=_subject(spec, "deadLetter", f"deadletter.{name or '?'}.{{tenantid}}"),
    )
    spec.done()
    if nats:
        _check_for_nats(source, spec)
    if errors:
        wrong = "; ".join(f"{error.field} {error.message}" for error in errors)
        raise InvalidInput(f"The {KIND} {name!r} has wrong fields: {wrong}.", tuple(errors))
    return source


def _batch(fields: Fields) -> BatchLimits:
    default = BatchLimits()
    limits = BatchLimits(
        max_events=fields.integer("maxEvents", default.max_events, 1),
        max_bytes=fields.quantity("maxBytes", default.max_bytes),
        linger=_duration(fields, "linger", default.linger),
    )
    fields.done()
    return limits


def _delivery(fields: Fields) -> Delivery:
    default = Delivery()
    delivery = Delivery(
        retry=fields.integer("retry", default.retry),
        policy=_choice(fields, "backoffPolicy", Backoff, default.policy),
        delay=_duration(fields, "backoffDelay", default.delay),
        timeout=_duration(fields, "timeout", default.timeout),
        retry_after_max=_duration(fields, "retryAfterMax", default.retry_after_max),
        max_deliver=fields.integer("maxDeliver", default.max_deliver, 1),
    )
    fields.done()
    if delivery.timeout <= 0:
        fields.wrong("timeout", "must be longer than nothing")
    return delivery


def _required_destination(spec: Fields, namespace: str) -> Destination:
    if "sink" not in spec:
        spec.wrong("sink", "is required")
        spec.take("sink")
        return Destination()
    return _destination(spec.fields("sink"), namespace, nats=True)


def _check_for_nats(source: SourceSpec, spec: Fields) -> None:
    """A message of core NATS holds one event, which the server's credentials let in."""
    if source.format is not Format.STRUCTURED:
        spec.wrong("format", f"must be structured for a sink of NATS, not {source.format}")
    if source.compression is not Compression.NONE:
        spec.wrong("compression", f"must be none for a sink of NATS, not {source.compression}")
    if source.sink.audience:
        spec.wrong("sink.audience", "must not be there for a sink of NATS, which is sent no token")


def _reply(spec: Fields, namespace: str) -> SubjectPattern | Destination | None:
    if "reply" not in spec:
        spec.take("reply")
        return None
    fields = spec.fields("reply")
    return _pattern(fields, "") if "subject" in fields else _destination(fields, namespace)


def _subject(spec: Fields, name: str, default: str) -> SubjectPattern:
    return _pattern(spec.fields(name), default)


def _pattern(fields: Fields, default: str) -> SubjectPattern:
    pattern = fields.text("subject", default, pattern=_SUBJECT)
    if pattern.split(".").count(_TENANT_PLACE) != 1:
        fields.wrong("subject", f"must hold {_TENANT_PLACE} as one of its tokens, once, not {pattern!r}")
    fields.done()
    return SubjectPattern(pattern)


def _destination(fields: Fields, namespace: str, *, nats: bool = False) -> Destination:
    uri = fields.text("uri", "-")
    audience = fields.text("audience", "-")
    ref = None
    if "ref" in fields:
        inner = fields.fields("ref")
        ref = Reference(
            kind=inner.text("kind"),
            name=inner.text("name", pattern=_NAME),
            namespace=inner.text("namespace", namespace),
            api_version=inner.text("apiVersion", "-"),
        )
        inner.done()
    fields.done()
    uri = "" if uri == "-" else uri
    if ref is None and not uri:
        fields.wrong("", "must hold a ref or a uri")
    elif ref is None and nats and is_nats(uri):
        if problem := nats_problem(uri):
            fields.wrong("uri", problem)
    elif ref is None and (urlsplit(uri).scheme not in ("http", "https") or not urlsplit(uri).hostname):
        kinds = "http, https or nats" if nats else "http or https"
        fields.wrong("uri", f"must be an {kinds} URL, not {without_secrets(uri)!r}")
    return Destination(ref, uri, "" if audience == "-" else audience)


def _choice(fields: Fields, name: str, kind: type[_E], default: _E) -> _E:
    return kind(fields.choice(name, [item.value for item in kind], default.value))


def _time(fields: Fields, name: str) -> str:
    """As nats-server writes it. Empty when the field is not there."""
    text = fields.text(name, "-")
    if text == "-":
        return ""
    try:
        whole, _, fraction = format_time(parse_time(text)).removesuffix("Z").partition(".")
    except ValueError as error:
        fields.wrong(name, str(error))
        return ""
    return ".".join(part for part in (whole, fraction.rstrip("0")) if part) + "Z"


def _duration(fields: Fields, name: str, default: float) -> float:
    text = fields.text(name, "-")
    if text == "-":
        return default
    try:
        return parse_iso(text)
    except ValueError as error:
        fields.wrong(name, str(error))
        return default
