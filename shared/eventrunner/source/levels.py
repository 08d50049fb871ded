"""How full a stream is, and which of its readers keep it so."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from eventrunner.clock import parse_time
from eventrunner.errors import Unavailable
from eventrunner.source.durations import parse_go
from eventrunner.storage.jetstream import NOT_FOUND, JetStreamApi, JetStreamError

__all__ = ["KEEP_READ", "Level", "Reader", "read_level", "surplus_until"]

_log = logging.getLogger(__name__)

KEEP_READ = "eventrunner.dev/keep-read"
"""Metadata of a stream: how long its messages stay when everybody has read them."""
_NEARLY_FULL = 0.9
_LATE = timedelta(minutes=1)
"""A reader that has not acked a message for so long is behind."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A durable consumer."""

    name: str
    unread: int
    """Messages that it has not acked."""
    first_unread: int | None
    """Sequence of the first of them; None when it has acked everything."""
    since: str
    """When that one was stored."""
    subjects: Sequence[str] = ()

    def describe(self) -> str:
        return f"{self.name} has not acked {self.unread} messages, the oldest of {self.since[:19]}Z"


@dataclass(frozen=True, slots=True)
class Level:
    stream: str
    messages: int
    bytes: int
    max_bytes: int
    """0: no limit."""
    first: int
    last: int
    """Sequences."""
    at: str
    """When this was so, by the server's clock."""
    keep_read: int | None = None
    """Nanoseconds for which read messages stay; None: for as long as the stream itself says."""
    readers: Sequence[Reader] = ()

    @property
    def fill(self) -> float:
        return self.bytes / self.max_bytes if self.max_bytes else 0.0

    @property
    def is_nearly_full(self) -> bool:
        return self.fill >= _NEARLY_FULL

    @property
    def first_unread(self) -> int:
        """The first message that some reader has not acked, else the one that comes next."""
        return min((item.first_unread for item in self.readers if item.first_unread is not None), default=self.last + 1)

    def problems(self) -> list[str]:
        """Sentences for whoever has to make room."""
        if self.is_nearly_full:
            why = "; ".join(item.describe() for item in self.readers if item.first_unread is not None)
            why = why or f"it holds {self.messages} messages"
            size = f"{_size(self.bytes)} of {_size(self.max_bytes)}"
            return [
                f"The stream {self.stream} is full to {self.fill:.0%} ({size}): {why}. "
                "What writes to it waits while it is full."
            ]
        return [f"Of the stream {self.stream}, {item.describe()}." for item in self._late(_LATE)]

    def waits_for(self, age: timedelta) -> bool:
        """Whether a message that is older has not been acked."""
        return bool(self._late(age))

    def _late(self, age: timedelta) -> list[Reader]:
        unread = [item for item in self.readers if item.first_unread is not None]
        return [item for item in unread if parse_time(self.at) - parse_time(item.since) > age]


async def read_level(api: JetStreamApi, stream: str) -> Level:
    """Raises JetStreamError for a stream that is not there, Unavailable."""
    info = await api.request(f"STREAM.INFO.{stream}")
    config, state = info["config"], info["state"]
    # After the stream, so that what comes meanwhile makes nobody seem to have read more than it has.
    readers = [await _reader(api, stream, item) for item in await _durables(api, stream)]
    return Level(
        stream=stream,
        messages=int(state["messages"]),
        bytes=int(state["bytes"]),
        max_bytes=max(0, int(config.get("max_bytes", 0))),
        first=int(state["first_seq"]),
        last=int(state["last_seq"]),
        at=str(info.get("ts", "")),
        keep_read=_keep_read(stream, config.get("metadata") or {}),
        readers=readers,
    )


def surplus_until(level: Level, share: float) -> int:
    """The first sequence that may stay if no more than that share of the bytes were to, and all messages were of one
    size; the next look corrects what they are not."""
    surplus = level.bytes - level.max_bytes * share
    if not level.max_bytes or surplus <= 0:
        return 0
    return level.first + math.ceil(surplus * level.messages / level.bytes)


async def _durables(api: JetStreamApi, stream: str) -> list[Mapping[str, Any]]:
    """All of them, or none: raises Unavailable when the server leaves some out."""
    found: list[Mapping[str, Any]] = []
    while True:
        page = await api.request(f"CONSUMER.LIST.{stream}", {"offset": len(found)})
        if page.get("missing"):
            raise Unavailable(f"Not all consumers of {stream} answer: {', '.join(page['missing'])}.")
        consumers = page.get("consumers") or []
        found += consumers
        if len(found) >= int(page["total"]):
            return [item for item in found if item["config"].get("durable_name")]
        if not consumers:
            raise Unavailable(f"The consumers of {stream} cannot be listed.")


async def _reader(api: JetStreamApi, stream: str, consumer: Mapping[str, Any]) -> Reader:
    unread = int(consumer["num_pending"]) + int(consumer["num_ack_pending"])
    floor = int(consumer["ack_floor"]["stream_seq"])
    # The stream is asked, not the consumer's own count, which in a cluster may be behind it.
    messages = [
        message
        for subject in _subjects(consumer["config"])
        if (message := await _next(api, stream, subject, floor + 1)) is not None
    ]
    first = min(messages, key=lambda message: int(message["seq"]), default=None)
    subjects = tuple(_subjects(consumer["config"]))
    if first is None:
        return Reader(str(consumer["name"]), unread, None, "", subjects)
    return Reader(str(consumer["name"]), max(1, unread), int(first["seq"]), str(first["time"]), subjects)


def _subjects(config: Mapping[str, Any]) -> Iterable[str]:
    return config.get("filter_subjects") or [config.get("filter_subject") or ">"]


async def _next(api: JetStreamApi, stream: str, subject: str, sequence: int) -> Mapping[str, Any] | None:
    """The first message of the subject from a sequence on."""
    try:
        answer = await api.request(f"STREAM.MSG.GET.{stream}", {"seq": sequence, "next_by_subj": subject})
    except JetStreamError as error:
        if error.http_code == NOT_FOUND:
            return None
        raise
    message: Mapping[str, Any] = answer["message"]
    return message


def _keep_read(stream: str, metadata: Mapping[str, str]) -> int | None:
    text = metadata.get(KEEP_READ)
    try:
        return None if text is None else parse_go(text)
    except ValueError as error:
        _log.error("%s: the metadata %s is %s; nothing is trimmed", stream, KEEP_READ, error)
        return None


def _size(count: int) -> str:
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"
