"""What one place of the platform holds of a tenant: which events, each with which content. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec

__all__ = ["Found", "Place", "content", "derivation", "name_of"]


def content(type: str, subject: str | None, data: bytes) -> bytes:
    """What has to be the same wherever an event is kept, `data` byte for byte, in eight bytes."""
    return blake2b(b"\0".join((type.encode(), (subject or "").encode(), data)), digest_size=8).digest()


def name_of(source: str, id: str) -> str:
    """Within a tenant."""
    return f"{id} of {source}"


def derivation(type: str, cause: str, *, replayed: bool = False) -> str:
    """Names the event of this type that rules derive from another; `cause` is that one's name."""
    return f"{type} {'replayed ' if replayed else ''}from {cause}"


class Found(msgspec.Struct):
    """An event as it was read."""

    id: str
    source: str
    type: str
    subject: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    causeid: str = ""
    replayid: str = ""

    @property
    def name(self) -> str:
        return name_of(self.source, self.id)

    @property
    def content(self) -> bytes:
        return content(self.type, self.subject, bytes(self.data))


@dataclass(slots=True)
class Place:
    name: str
    once: bool = True
    """Whether whoever reads it is promised each event once; between stages it may come again."""
    events: dict[str, bytes] = field(default_factory=dict)
    """Events from outside: name → content."""
    derived: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Name of the derivation → name → content."""
    repeated: list[str] = field(default_factory=list)
    """Names, once for each time that an event came again."""
    contradicting: list[str] = field(default_factory=list)
    """Names of events that came again with another content."""

    def add(self, event: Found) -> None:
        known = self._siblings(event)
        name, content = event.name, event.content
        if known.setdefault(name, content) is content:
            return
        self.repeated.append(name)
        if known[name] != content:
            self.contradicting.append(name)

    def _siblings(self, event: Found) -> dict[str, bytes]:
        if not event.causeid:
            return self.events
        cause = name_of(event.source, event.causeid)
        return self.derived.setdefault(derivation(event.type, cause, replayed=bool(event.replayid)), {})
