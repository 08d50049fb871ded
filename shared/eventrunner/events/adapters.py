"""From a raw payload to an Event: what a tenant declares in a small YAML, query parameters, and known webhooks.

A raw payload travels as an envelope, an event of type `eventrunner.raw`, from ingest to the event runner. An adapter
gives each attribute as a template: text in which `{a.b}` stands for the value at that path of the payload, and
`{header:x-name}` for a header of the request.

    adapters:
      - name: orders
        has: [order.id]                # the payload must have these paths
        id: "{order.id}"
        type: "shop.order.{status}"
        source: /shop/{shop}
        subject: "{customer}"
        time: "{created_at}"           # RFC 3339, or seconds or milliseconds since the epoch
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from eventrunner.clock import format_time
from eventrunner.errors import FieldError, InvalidInput
from eventrunner.events.event import Event
from eventrunner.events.validation import check_event

__all__ = ["KEPT_HEADERS", "RAW_TYPE", "AdapterSpec", "adapt", "envelope", "parse_adapters"]

RAW_TYPE = "eventrunner.raw"
KEPT_HEADERS = ("x-github-event", "x-github-delivery", "stripe-signature")
"""Headers by which webhooks are known. Of a signature only its presence is kept."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_MISSING = object()


class AdapterSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    type: str
    source: str
    id: str = ""
    """Empty: the envelope's own id, so that each delivery of the payload is an event of its own."""
    subject: str = ""
    time: str = ""
    has: tuple[str, ...] = ()


_GITHUB = AdapterSpec(
    name="github",
    id="{header:x-github-delivery}",
    type="com.github.{header:x-github-event}",
    source="{repository.html_url}",
    subject="{sender.login}",
    has=("header:x-github-event", "header:x-github-delivery"),
)
_STRIPE = AdapterSpec(
    name="stripe",
    id="{id}",
    type="com.stripe.{type}",
    source="https://api.stripe.com",
    subject="{data.object.id}",
    time="{created}",
    has=("header:stripe-signature", "id", "type"),
)


class _Raw(msgspec.Struct):
    """What the envelope says of the request, as the JSON in its attribute `rawrequest`."""

    headers: dict[str, str] = {}
    adapter: str = ""
    type: str = ""
    source: str = ""
    subject: str = ""


def parse_adapters(documents: Sequence[Mapping[str, Any]]) -> tuple[AdapterSpec, ...]:
    """Reads a tenant's adapters. Raises InvalidInput that names every wrong one."""
    specs: list[AdapterSpec] = []
    problems: list[FieldError] = []
    for index, document in enumerate(documents):
        try:
            specs.append(msgspec.convert(document, AdapterSpec))
        except msgspec.ValidationError as error:
            problems.append(FieldError(f"adapters[{index}]", str(error)))
    if problems:
        raise InvalidInput("Some adapters cannot be read.", tuple(problems))
    return tuple(specs)


def envelope(
    payload: bytes, content_type: str, *, id: str, headers: Mapping[str, str], query: Mapping[str, str]
) -> Event:
    """Wraps a raw payload for its way to the event runner. Raises InvalidInput when JSON is promised and not sent."""
    kept = {name: headers[name] for name in KEPT_HEADERS if name in headers}
    if "stripe-signature" in kept:
        kept["stripe-signature"] = "present"
    raw = _Raw(
        headers=kept, **{name: query[name] for name in ("adapter", "type", "source", "subject") if name in query}
    )
    event = Event(id=id, source="/eventrunner/ingest", type=RAW_TYPE)
    event.set_payload(payload, content_type)
    event.extensions = {"rawrequest": msgspec.json.encode(raw).decode()}
    return event


def adapt(event: Event, specs: Sequence[AdapterSpec]) -> Event:
    """Turns an envelope into the event that its payload stands for, in place.

    The tenant's own adapters come first, in their order, then query parameters, then GitHub-like and Stripe-like
    webhooks. Raises InvalidInput when none fits.
    """
    extensions = event.extensions or {}
    raw = msgspec.json.decode(str(extensions.pop("rawrequest", "{}")), type=_Raw)
    event.extensions = extensions or None
    payload = event.decoded_data()
    spec = _choose(raw, payload, specs)
    event.type = _fill(spec.type, payload, raw, "type")
    event.source = _fill(spec.source, payload, raw, "source")
    if spec.id:
        event.id = _fill(spec.id, payload, raw, "id")
    if spec.subject:
        event.subject = _optional(spec.subject, payload, raw)
    if spec.time and (text := _optional(spec.time, payload, raw)):
        event.time = _timestamp(text)
    return check_event(event)


def _choose(raw: _Raw, payload: Any, specs: Sequence[AdapterSpec]) -> AdapterSpec:
    known = (*specs, _GITHUB, _STRIPE)
    if raw.adapter:
        for spec in known:
            if spec.name == raw.adapter:
                return spec
        raise _refuse(f"There is no adapter named {raw.adapter!r}.", "adapter")
    for spec in specs:
        if _fits(spec, payload, raw):
            return spec
    if raw.type and raw.source:
        has_id = isinstance(payload, dict) and isinstance(payload.get("id"), str | int)
        return AdapterSpec(
            name="query", type=raw.type, source=raw.source, subject=raw.subject, id="{id}" if has_id else ""
        )
    for spec in (_GITHUB, _STRIPE):
        if _fits(spec, payload, raw):
            return spec
    raise _refuse("No adapter fits this payload: declare one for the tenant, or send ?type= and ?source=.", "data")


def _fits(spec: AdapterSpec, payload: Any, raw: _Raw) -> bool:
    return all(_look_up(path, payload, raw) is not _MISSING for path in spec.has)


def _look_up(path: str, payload: Any, raw: _Raw) -> Any:
    if path.startswith("header:"):
        return raw.headers.get(path[len("header:") :].lower(), _MISSING)
    value = payload
    for step in path.split("."):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return _MISSING
    return value


def _fill(template: str, payload: Any, raw: _Raw, name: str) -> str:
    def value(match: re.Match[str]) -> str:
        found = _look_up(match[1], payload, raw)
        if found is _MISSING or isinstance(found, dict | list) or found is None:
            raise _refuse(f"The payload has no plain value at {match[1]!r}, which the {name} is made of.", name)
        return str(found).lower() if isinstance(found, bool) else str(found)

    return _PLACEHOLDER.sub(value, template)


def _optional(template: str, payload: Any, raw: _Raw) -> str | None:
    try:
        return _fill(template, payload, raw, "") or None
    except InvalidInput:
        return None


def _timestamp(text: str) -> str:
    """RFC 3339 stays; a number is seconds, or from 10^11 on milliseconds, since the epoch."""
    try:
        number = float(text)
    except ValueError:
        return text
    try:
        return format_time(datetime.fromtimestamp(number / 1000 if abs(number) >= 1e11 else number, UTC))
    except (ValueError, OverflowError, OSError) as error:
        raise _refuse(f"{text!r} is not a time.", "time") from error


def _refuse(detail: str, name: str) -> InvalidInput:
    return InvalidInput(detail, (FieldError(name, detail),))
