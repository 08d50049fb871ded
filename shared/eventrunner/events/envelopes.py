"""A raw payload on its way from ingest to the event runner: an event of type `eventrunner.raw` around it.

What the request said beside the payload, as far as adapters may use it, is the JSON in the attribute `rawrequest`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from eventrunner.errors import InvalidInput
from eventrunner.events.event import Event

__all__ = ["RAW_REQUEST", "RAW_TYPE", "RawRequest", "describe_request", "envelope", "raw_request_of"]

RAW_TYPE = "eventrunner.raw"
RAW_REQUEST = "rawrequest"

_PARAMETERS = ("adapter", "id", "type", "source", "subject", "time")
_HEADER = re.compile(r"(?!x-(?:forwarded-|real-ip$|request-id$|envoy-|b3-|api-key$))x-[a-z0-9-]+|stripe-signature")
"""By these webhooks are known; proxies on the way write the ones that are left out."""
_SECRET = re.compile("token|secret|signature|key|auth|password")
_PRESENT = "present"
_MOST_HEADERS, _LONGEST_VALUE = 32, 256


class RawRequest(msgspec.Struct, omit_defaults=True):
    headers: dict[str, str] = {}
    """Names in lower case. Of what may be a secret, such as a signature, only the presence is kept."""
    adapter: str = ""
    id: str = ""
    type: str = ""
    source: str = ""
    subject: str = ""
    time: str = ""


def describe_request(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """The attribute `rawrequest`; names of headers are in lower case."""
    kept = {
        name: _PRESENT if _SECRET.search(name) else value
        for name, value in headers.items()
        if len(value) <= _LONGEST_VALUE and _HEADER.fullmatch(name)
    }
    request = RawRequest(
        headers=dict(list(kept.items())[:_MOST_HEADERS]),
        **{name: query[name] for name in _PARAMETERS if name in query},
    )
    return msgspec.json.encode(request).decode()


def envelope(payload: bytes, content_type: str, *, id: str, request: str) -> Event:
    """Wraps a payload; `request` is from `describe_request`. Raises InvalidInput when JSON is promised and not sent."""
    event = Event(id=id, source="/eventrunner/ingest", type=RAW_TYPE)
    event.set_payload(payload, content_type)
    event.extensions = {RAW_REQUEST: request}
    return event


def raw_request_of(event: Event) -> RawRequest:
    """Raises InvalidInput for an envelope that ingest did not make."""
    text = str((event.extensions or {}).get(RAW_REQUEST, "{}"))
    try:
        return msgspec.json.decode(text, type=RawRequest)
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"The envelope's {RAW_REQUEST} cannot be read: {error}.") from error
