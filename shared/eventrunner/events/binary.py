"""Binary content mode: attributes as headers, the payload as the body, alike in HTTP and NATS.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
In 1.0.2 the NATS binding has structured mode only; its next version adds this one, with the same rules for values:
https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote

from eventrunner.errors import FieldError
from eventrunner.events.event import CORE_ATTRIBUTES, USAGE_ATTRIBUTES, Event
from eventrunner.events.validation import check_attributes

__all__ = ["BATCH_TYPE", "STRUCTURED_TYPE", "is_binary", "read_binary", "write_binary"]

STRUCTURED_TYPE = "application/cloudevents+json"
BATCH_TYPE = "application/cloudevents-batch+json"

_PREFIX = "ce-"
_FIELDS = frozenset(CORE_ATTRIBUTES) | {"tenantid", "traceparent", "receivedtime"}
# Of the printable ASCII characters a header value escapes the blank, the double quote and the percent sign.
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
"""Quoted strings of RFC 7230, section 3.2.6, which older versions of the specification let senders write."""


def is_binary(headers: Iterable[str]) -> bool:
    """Whether the header names are those of a binary-mode event."""
    return any(name.lower() == "ce-specversion" for name in headers)


def read_binary(headers: Mapping[str, str], body: bytes) -> Event:
    """Reads the event; names of headers count in any case. Raises InvalidInput with every wrong attribute."""
    values: dict[str, Any] = {}
    extensions: dict[str, str | int | bool] = {}
    problems: list[FieldError] = []
    content_type = None
    for header, text in headers.items():
        name = header.lower()
        if name == "content-type":
            content_type = text or None
        if not name.startswith(_PREFIX):
            continue
        name = name[len(_PREFIX) :]
        if name == "datacontenttype":
            problems.append(FieldError(name, "must be the header Content-Type, without ce-datacontenttype"))
            continue
        try:
            value = _attribute_value(text)
        except ValueError as error:
            problems.append(FieldError(name, str(error)))
            continue
        if name in USAGE_ATTRIBUTES and value.isascii() and value.isdigit():
            values[name] = int(value)
        elif name in _FIELDS:
            values[name] = value
        else:
            extensions[name] = value
    named = {problem.field for problem in problems}
    for name in ("id", "source", "type", "specversion"):
        if name not in values and name not in named:
            problems.append(FieldError(name, f"is required (header {_PREFIX}{name})"))
    event = check_attributes({**values, "extensions": extensions or None}, problems)
    event.set_payload(body, content_type)
    return event


def write_binary(event: Event) -> tuple[dict[str, str], bytes]:
    """Headers and body of the event."""
    headers: dict[str, str] = {}
    for name in (*CORE_ATTRIBUTES, "tenantid", "traceparent", "receivedtime", *USAGE_ATTRIBUTES):
        value = getattr(event, name)
        if value and name != "datacontenttype":
            headers[_PREFIX + name] = _header_value(value)
    for name, value in (event.extensions or {}).items():
        headers[_PREFIX + name] = _header_value(value)
    body = event.payload()
    content_type = event.datacontenttype or ("application/json" if body else None)
    if content_type:
        headers["content-type"] = content_type
    return headers, body


def _attribute_value(text: str) -> str:
    """Raises ValueError that says what is wrong."""
    # Servers disagree on what these bytes mean, so that the event would not be the one that was sent.
    if not text.isascii():
        raise ValueError("must be percent-encoded where it is not ASCII, such as %C3%A9 for \u00e9")
    quoted = _QUOTED.fullmatch(text)
    try:
        return unquote(_ESCAPE.sub(r"\1", quoted[1]) if quoted else text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("must not have percent-encoded bytes that are not UTF-8") from None


def _header_value(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return quote(str(value), safe=_SAFE)
