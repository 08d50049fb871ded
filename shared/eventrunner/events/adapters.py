"""From a raw payload to an Event: what a tenant declares in a small YAML, query parameters, and known webhooks.

A raw payload travels from ingest to the event runner in an envelope (`envelopes`). An adapter gives each attribute as
a template: text in which `{a.b}` stands for the value at that path of the payload, and `{header:x-name}` for a header
of the request, one whose name starts with `x-`. The query parameters of the same names are templates too.

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
from eventrunner.events.envelopes import RAW_REQUEST, RawRequest, raw_request_of
from eventrunner.events.event import Event
from eventrunner.events.validation import check_event

__all__ = ["AdapterSpec", "adapt", "parse_adapters"]

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


_GITHUB = tuple(
    AdapterSpec(
        name="github",
        id="{header:x-github-delivery}",
        type="com.github.{header:x-github-event}",
        source=f"{{{about}}}",
        subject="{sender.login}",
        has=("header:x-github-event", "header:x-github-delivery", about),
    )
    # What the hook was set up for: a repository, an organisation or an app.
    for about in ("repository.html_url", "organization.url", "sender.html_url")
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


_WEBHOOKS = (*_GITHUB, _STRIPE)


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


def adapt(event: Event, specs: Sequence[AdapterSpec]) -> Event:
    """The event that the payload of an envelope stands for; the envelope stays as it is.

    The tenant's own adapters come first, in their order, then query parameters, then GitHub-like and Stripe-like
    webhooks. Raises InvalidInput when none fits.
    """
    raw, payload = raw_request_of(event), event.decoded_data()
    spec = _choose(raw, payload, specs)
    time = _optional(spec.time, payload, raw)
    others = {name: value for name, value in (event.extensions or {}).items() if name != RAW_REQUEST}
    adapted = msgspec.structs.replace(
        event,
        type=_fill(spec.type, payload, raw, "type"),
        source=_fill(spec.source, payload, raw, "source"),
        id=_fill(spec.id, payload, raw, "id") if spec.id else event.id,
        subject=_optional(spec.subject, payload, raw),
        time=None if time is None else _timestamp(time),
        extensions=others or None,
    )
    return check_event(adapted)


def _choose(raw: RawRequest, payload: Any, specs: Sequence[AdapterSpec]) -> AdapterSpec:
    if raw.adapter:
        named = [spec for spec in (*specs, *_WEBHOOKS) if spec.name == raw.adapter]
        if not named:
            raise _refuse(f"There is no adapter named {raw.adapter!r}.", "adapter")
        return next((spec for spec in named if _fits(spec, payload, raw)), named[0])
    for spec in specs:
        if _fits(spec, payload, raw):
            return spec
    if raw.type and raw.source:
        return _declared_by(raw, payload)
    for spec in _WEBHOOKS:
        if _fits(spec, payload, raw):
            return spec
    raise _refuse("No adapter fits this payload: declare one for the tenant, or send ?type= and ?source=.", "data")


def _declared_by(raw: RawRequest, payload: Any) -> AdapterSpec:
    """The adapter that the query parameters are. A payload with a plain `id` gives the event its id."""
    has_id = isinstance(payload, dict) and isinstance(payload.get("id"), str | int)
    return AdapterSpec(
        name="query",
        id=raw.id or ("{id}" if has_id else ""),
        type=raw.type,
        source=raw.source,
        subject=raw.subject,
        time=raw.time,
    )


def _fits(spec: AdapterSpec, payload: Any, raw: RawRequest) -> bool:
    return all(_look_up(path, payload, raw) is not _MISSING for path in spec.has)


def _look_up(path: str, payload: Any, raw: RawRequest) -> Any:
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


def _fill(template: str, payload: Any, raw: RawRequest, name: str) -> str:
    def value(match: re.Match[str]) -> str:
        found = _look_up(match[1], payload, raw)
        if found is _MISSING or isinstance(found, dict | list) or found is None:
            raise _refuse(f"The payload has no plain value at {match[1]!r}, which the {name} is made of.", name)
        return str(found).lower() if isinstance(found, bool) else str(found)

    return _PLACEHOLDER.sub(value, template)


def _optional(template: str, payload: Any, raw: RawRequest) -> str | None:
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
