"""A batch of several tenants written tenant by tenant, so that it can be cut by bytes alone.

The header says of each section its tenant, events and bytes: `acme;500;21034,globex;12;480`. The sections lie in that
order between the brackets, packed or plain, with a comma between two of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from eventrunner.errors import MalformedBody
from eventrunner.events.event import Event
from eventrunner.events.packing import CLOSE, COMMA, OPEN

__all__ = ["SECTIONS_HEADER", "Section", "by_tenant", "read_sections", "write_sections"]

SECTIONS_HEADER = "Eventrunner-Tenants"
"""On a stage's reply it also says that no event is a failure or a usage record; no tenant comes twice in it."""
_HEADER_LIMIT = 4096
"""Characters; HTTP servers and clients take some 8 000 in all."""


class Section(NamedTuple):
    tenant: str
    events: int
    members: bytes
    """The events with commas between them, packed or plain, as the whole body is."""


def by_tenant(events: Sequence[Event]) -> Mapping[str, Sequence[Event]]:
    """In the order in which the tenants come first."""
    if len({event.tenantid for event in events}) == 1:
        return {events[0].tenantid: events}
    groups: dict[str, list[Event]] = {}
    for event in events:
        group = groups.get(event.tenantid)
        if group is None:
            groups[event.tenantid] = [event]
        else:
            group.append(event)
    return groups


def write_sections(sections: Sequence[Section], *, packed: bool) -> tuple[bytes, str] | None:
    """The body and its header; None when there are too many tenants to name."""
    header = ",".join(f"{tenant};{events};{len(members)}" for tenant, events, members in sections)
    if len(header) > _HEADER_LIMIT:
        return None
    opening, comma, closing = _marks(packed)
    return opening + comma.join(section.members for section in sections) + closing, header


def read_sections(header: str, body: bytes, *, packed: bool) -> list[Section]:
    """Raises MalformedBody when the header does not fit the body."""
    opening, comma, closing = _marks(packed)
    sections: list[Section] = []
    at = len(opening)
    try:
        for entry in header.split(","):
            tenant, count, size = entry.split(";")
            end = at + int(size)
            sections.append(Section(tenant, int(count), body[at:end]))
            at = end + len(comma)
    except ValueError as error:
        raise MalformedBody(f"{SECTIONS_HEADER} cannot be read: {header[:200]!r}.") from error
    # Without the comma that only stands between two sections.
    if at - len(comma) + len(closing) != len(body) or not (body.startswith(opening) and body.endswith(closing)):
        raise MalformedBody(f"{SECTIONS_HEADER} does not fit the body.")
    return sections


def _marks(packed: bool) -> tuple[bytes, bytes, bytes]:
    return (OPEN, COMMA, CLOSE) if packed else (b"[", b",", b"]")
