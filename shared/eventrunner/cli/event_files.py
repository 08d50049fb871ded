"""Events in files: one as JSON, an array of them, or one a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import msgspec

from eventrunner.errors import InvalidInput
from eventrunner.events import Event, check_event, decode_incoming
from eventrunner.events.json_format import split_batch
from eventrunner.events.validation import is_reserved_extension
from eventrunner.tenancy import check_tenant

__all__ = ["parse_event", "read_events"]


def read_events(file: IO[bytes], tenant: str) -> Iterator[Event]:
    """Those without a tenant are of the given one. Lines are read as they come. Raises InvalidInput that says which
    event is wrong."""
    for number, document in enumerate(_documents(file), 1):
        try:
            yield parse_event(document, tenant)
        except InvalidInput as error:
            raise InvalidInput(f"Event {number}: {error.detail}", error.fields) from error


def parse_event(document: bytes | msgspec.Raw, tenant: str) -> Event:
    """An event as it comes from a producer, or with what the platform has added to it. Raises InvalidInput."""
    event = decode_incoming(document)
    event.tenantid = check_tenant(event.tenantid or tenant)
    added = {name: value for name, value in (event.extensions or {}).items() if is_reserved_extension(name)}
    event.extensions = {name: value for name, value in (event.extensions or {}).items() if name not in added} or None
    check_event(event)
    for name, value in added.items():
        event.set_extension(name, value)
    return event


def _documents(file: IO[bytes]) -> Iterator[bytes | msgspec.Raw]:
    lines = (line for line in file if line.strip())
    for line in lines:
        if _is_json(line):
            yield from _members(line)
        else:
            # It goes on over several lines.
            yield from _members(line + b"".join(lines))


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except msgspec.DecodeError:
        return False
    return True


def _members(document: bytes) -> list[bytes] | list[msgspec.Raw]:
    return split_batch(document) if document.lstrip()[:1] == b"[" else [document]
