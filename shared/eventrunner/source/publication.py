"""A message to store."""

from __future__ import annotations

from dataclasses import dataclass

from eventrunner.events.binary import BATCH_TYPE
from eventrunner.events.headers import COUNT_HEADER
from eventrunner.events.packing import ENCODING

__all__ = ["HEADER_ROOM", "TO_DESTINATION", "Publication"]

HEADER_ROOM = 1024
"""Bytes of the server's max_payload that are left to the headers."""
TO_DESTINATION = ""
"""Subject of what is posted to the reply's Destination."""


@dataclass(frozen=True, slots=True)
class Publication:
    subject: str
    body: bytes
    content_type: str
    message_id: str
    """`Nats-Msg-Id`: stored twice within the stream's duplicate window, it is there once."""
    count: int = 1
    failure: bool = False
    """A dead letter that the stage itself has made."""
    packed: bool = False
    """Whether the body is in zstd."""
    more_headers: tuple[tuple[str, str], ...] = ()

    @property
    def headers(self) -> dict[str, str]:
        headers = {"Nats-Msg-Id": self.message_id, "Content-Type": self.content_type}
        if self.content_type == BATCH_TYPE:
            headers[COUNT_HEADER] = str(self.count)
        if self.packed:
            headers["Content-Encoding"] = ENCODING
        headers.update(self.more_headers)
        return headers
