"""What the source holds of a stream: messages, parts of messages, and the parcels that it sends to the sink.

Bodies stay bytes, packed ones packed. A batch is kept without its brackets, so that parts are joined by putting commas
between them.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nats.aio.msg import Msg

from eventrunner.clock import parse_nanoseconds
from eventrunner.errors import InvalidInput, MalformedBody
from eventrunner.events.binary import BATCH_TYPE, STRUCTURED_TYPE, is_binary, read_binary
from eventrunner.events.costs import charged_batch, charged_text
from eventrunner.events.headers import ATTEMPTS_HEADER, COUNT_HEADER, FIRST_HEADER, ONLY_HEADER
from eventrunner.events.json_format import encode_event, split_batch
from eventrunner.events.packing import ENCODING, bracket, join_packed, pack, packed_members, unpacked_size
from eventrunner.events.sections import Section, write_sections
from eventrunner.tenancy import tenant_of_subject

__all__ = [
    "UNPACK_LIMIT",
    "Message",
    "Parcel",
    "Part",
    "Past",
    "count_of",
    "delivery_number",
    "read_message",
    "read_stored",
    "singles",
]

UNPACK_LIMIT = 64 * 1024 * 1024
"""Bytes; what our own stages pack is a message of JetStream or less."""

_JSON_TYPES = (BATCH_TYPE, STRUCTURED_TYPE)
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Past:
    """What became of a replayed dead letter's event before."""

    attempts: int
    first: str
    """When it was given up first; RFC 3339."""


@dataclass(slots=True, eq=False)
class Message:
    """One message of the stream, acked when all parts of it are settled."""

    subject: str
    tenant: str
    ack_subject: str
    """Empty when no consumer has delivered it: then it is settled by removing it from the stream."""
    sequence: str
    """Of the stream."""
    stored: str
    """Nanoseconds since the epoch. With the sequence it names the message, even after the stream was made again."""
    deliveries: int
    pending: str
    """Messages that the consumer had not delivered when it delivered this one."""
    size: int
    members: bytes
    """The events as JSON, separated by commas; in one zstd frame when `packed`."""
    count: int
    packed: bool = False
    whole: bytes | None = None
    """The message's own body, when that is a plain batch."""
    problem: str = ""
    """Why the message cannot be sent to any sink; then `members` is what came."""
    only: str = ""
    """The one durable consumer that a replayed message is for."""
    past: Past | None = None
    buried: bool = False
    """Whether a dead letter was made of some of it."""
    open: int = 1
    """Parts that are not settled yet."""
    touched: float = 0.0
    """When the server last heard that the message is being worked on."""

    @property
    def key(self) -> str:
        """The same for each delivery of the message."""
        return f"{self.sequence}.{self.stored}"


@dataclass(slots=True, eq=False)
class Part:
    """Some neighbouring events of a message."""

    message: Message
    offset: int
    count: int
    members: bytes
    """As in the message."""
    packed: bool = False
    settled: bool = False

    @property
    def place(self) -> tuple[int, int]:
        """In the order of the stream."""
        return int(self.message.sequence), self.offset

    @classmethod
    def of(cls, message: Message) -> Part:
        return cls(message, 0, message.count, message.members, message.packed)

    @property
    def size(self) -> int:
        """Bytes of the JSON."""
        return unpacked_size(self.members) if self.packed else len(self.members)

    def text(self) -> bytes:
        """The JSON. Raises MalformedBody or BodyTooLarge."""
        return charged_text(self.members, UNPACK_LIMIT) if self.packed else self.members

    def split(self) -> list[Part]:
        """A part for each event, unpacked. Raises MalformedBody or BodyTooLarge."""
        events = split_batch(b"[" + self.text() + b"]")
        return [Part(self.message, self.offset + number, 1, bytes(event)) for number, event in enumerate(events)]


@dataclass(slots=True, eq=False)
class Parcel:
    """The parts that make one request."""

    parts: Sequence[Part]
    attempts: int = 0
    """Requests so far."""
    faults: int = 0
    """Failed requests that the parcel, and not the sink, has to answer for."""
    first_tried: float = 0.0
    evidence_from: float = 0.0
    """Start of the attempt before, or of the first one: success of others since then speaks against this parcel."""
    last_tried: float = 0.0
    inherited: int = 0
    """Attempts of the larger parcels that this one was cut from."""
    crashes: int = 0
    """How often the delivery broke off by an error of the adapter."""
    root: int = field(default_factory=_numbers.__next__)
    """The same for all that was cut from one parcel."""
    count: int = field(init=False)

    def __post_init__(self) -> None:
        self.count = sum(part.count for part in self.parts)

    def begin_attempt(self, now: float) -> None:
        if not self.attempts:
            self.first_tried = self.last_tried = now
        self.attempts += 1
        self.evidence_from, self.last_tried = self.last_tried, now

    @property
    def tenants(self) -> set[str]:
        return {part.message.tenant for part in self.parts}

    @property
    def packed(self) -> bool:
        """Whether some of the parts are."""
        return any(part.packed for part in self.parts)

    def members(self) -> bytes:
        """The JSON of the events. Raises MalformedBody or BodyTooLarge."""
        return self.parts[0].text() if len(self.parts) == 1 else b",".join(part.text() for part in self.parts)

    def batch(self) -> bytes:
        """The JSON batch of the events. Raises MalformedBody or BodyTooLarge."""
        if len(self.parts) == 1:
            part = self.parts[0]
            if part.message.whole is not None and part.members is part.message.members:
                return part.message.whole
        return b"[" + self.members() + b"]"

    def packed_batch(self) -> bytes:
        """The same, packed; what is packed already is not opened."""
        frames: list[bytes] = []
        for packed, parts in itertools.groupby(self.parts, lambda part: part.packed):
            members = [part.members for part in parts]
            # Small messages share a frame, for a frame of its own costs more than a small event.
            frames += members if packed else [pack(b",".join(members))]
        return bracket(join_packed(frames))

    def sections(self) -> tuple[bytes, str] | None:
        """The packed batch and where each tenant's events are in it; None when that cannot be told, because not all
        parts are packed or there are too many tenants."""
        if not all(part.packed for part in self.parts):
            return None
        sections = []
        for tenant, grouped in itertools.groupby(self.parts, lambda part: part.message.tenant):
            parts = list(grouped)
            members = join_packed(part.members for part in parts)
            sections.append(Section(tenant, sum(part.count for part in parts), members))
        return write_sections(sections, packed=True)

    def digest(self) -> str:
        """Names exactly these events of exactly these messages, also when they are delivered again."""
        text = ";".join(f"{p.message.sequence},{p.message.stored},{p.offset},{p.count}" for p in self.parts)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    def halves(self, *, whole_tenants: bool = False) -> list[Parcel]:
        """The same events in two parcels, or in one when there is but one event. With `whole_tenants` a parcel of
        several tenants is cut between two of them.

        Raises MalformedBody when a single message cannot be cut.
        """
        middle = len(self.parts) // 2
        if whole_tenants and (borders := self._borders()):
            middle = min(borders, key=lambda border: abs(border - middle))
        pieces = [self.parts[:middle], self.parts[middle:]] if middle else [[part] for part in _cut(self.parts[0])]
        return [Parcel(piece, inherited=self.inherited + self.attempts, root=self.root) for piece in pieces]

    def first(self, count: int) -> Parcel:
        """The first so many events, as if they had been sent alone; all of them, if there are no more. A part that is
        cut for it is replaced by its two pieces here too, so that each of them is settled once however often that is
        tried. Raises MalformedBody or BodyTooLarge."""
        for number, part in enumerate(self.parts):
            # By what is in it: its own count is what somebody's header says.
            events = part.split()
            if len(events) > count:
                pieces = _pieces(part, events, count) if count else []
                self.parts = [*self.parts[:number], *(pieces or [part]), *self.parts[number + 1 :]]
                return self._of(self.parts[: number + bool(pieces)])
            count -= len(events)
        return self._of(self.parts)

    def _of(self, parts: Sequence[Part]) -> Parcel:
        return Parcel(parts, self.attempts, inherited=self.inherited, root=self.root)

    def go_on_with(self, parts: Sequence[Part]) -> None:
        """What the parcel still holds; nothing speaks against that."""
        self.parts, self.count = parts, sum(part.count for part in parts)
        self.attempts = self.faults = self.crashes = self.inherited = 0

    def _borders(self) -> list[int]:
        """Where the parts of another tenant begin; a tenant's parts are neighbours."""
        neighbours = enumerate(itertools.pairwise(self.parts), 1)
        return [place for place, (one, two) in neighbours if one.message.tenant != two.message.tenant]


def read_message(message: Msg) -> Message:
    """Never raises: what cannot be read has a `problem`."""
    # $JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<deliveries>.<sequence>.<consumer's>.<time>.<pending>[.<token>]
    tokens = message.reply.split(".")
    start = 4 if len(tokens) == 9 else 6
    deliveries, sequence, _, stored, pending = tokens[start : start + 5]
    data = message.data
    read = Message(
        subject=message.subject,
        tenant=tenant_of_subject(message.subject),
        ack_subject=message.reply,
        sequence=sequence,
        stored=stored,
        deliveries=int(deliveries),
        pending=pending,
        size=len(data),
        members=data,
        count=1,
    )
    return _with_headers(read, message.headers or {})


def delivery_number(ack_subject: str) -> int:
    """Which of its consumer's deliveries a message was, counted from 1."""
    tokens = ack_subject.split(".")
    return int(tokens[6 if len(tokens) == 9 else 8])


def read_stored(stored: Mapping[str, Any]) -> Message:
    """Reads what `STREAM.MSG.GET` answers. Never raises, as `read_message`."""
    data = base64.b64decode(stored.get("data", ""))
    read = Message(
        subject=stored["subject"],
        tenant=tenant_of_subject(stored["subject"]),
        ack_subject="",
        sequence=str(stored["seq"]),
        stored=str(parse_nanoseconds(stored["time"])),
        deliveries=1,
        pending="0",
        size=len(data),
        members=data,
        count=1,
    )
    # The first line is the protocol's version.
    lines = base64.b64decode(stored.get("hdrs", "")).decode(errors="replace").splitlines()[1:]
    headers = (line.partition(":") for line in lines if line)
    return _with_headers(read, {name: value.strip() for name, _, value in headers})


def _with_headers(read: Message, headers: Mapping[str, str]) -> Message:
    data = read.members
    read.only, read.past = headers.get(ONLY_HEADER, ""), _read_past(headers)
    try:
        _read_body(read, headers)
    except InvalidInput as error:
        read.members, read.count, read.whole, read.problem = data, 1, None, str(error)
        read.packed = False
    return read


def _read_past(headers: Mapping[str, str]) -> Past | None:
    attempts = headers.get(ATTEMPTS_HEADER, "")
    if not (attempts.isascii() and attempts.isdigit()):
        return None
    return Past(int(attempts[:9]), headers.get(FIRST_HEADER, ""))


def count_of(header: str | None, batch: bytes) -> int:
    """Events in a batch, from its header if it has a sound one. Raises MalformedBody."""
    if header is not None and header.isascii() and header.isdigit() and (header != "0" or len(batch) <= 2):
        return int(header)
    return len(split_batch(batch))


def _read_body(read: Message, headers: Mapping[str, str]) -> None:
    if encoding := headers.get("Content-Encoding", ""):
        if encoding != ENCODING:
            raise MalformedBody(f"the body is encoded as {encoding!r}, which is not {ENCODING}")
        _read_packed(read, headers)
    else:
        _read_plain(read, headers)


def _read_packed(read: Message, headers: Mapping[str, str]) -> None:
    members, count = packed_members(read.members), headers.get(COUNT_HEADER, "")
    if members is not None and count.isascii() and count.isdigit() and count != "0":
        read.members, read.count, read.packed = members, int(count), True
    else:
        # Packed by somebody else: it can only be seen from inside what it is.
        read.members = charged_batch(read.members, UNPACK_LIMIT)
        _read_plain(read, headers)


def _read_plain(read: Message, headers: Mapping[str, str]) -> None:
    body = read.members
    if headers.get("Content-Type") not in _JSON_TYPES and is_binary(headers):
        read.members = encode_event(read_binary(headers, body))
        return
    text = body.strip()
    if text[:1] == b"[" and text[-1:] == b"]":
        read.members, read.whole = text[1:-1], text
        read.count = count_of(headers.get(COUNT_HEADER), text)
    elif text[:1] == b"{":
        read.members = text
    else:
        read.problem = f"neither a CloudEvent nor a batch of type {BATCH_TYPE}"


def _cut(part: Part) -> list[Part]:
    events = part.split()
    return _pieces(part, events, len(events) // 2)


def _pieces(part: Part, events: Sequence[Part], middle: int) -> list[Part]:
    # What has been taken apart stays unpacked.
    halves = [_merge(half) for half in (events[:middle], events[middle:]) if half]
    # The message stays open until each of its parts is settled.
    part.message.open += len(halves) - 1
    return halves


def singles(part: Part) -> list[Part]:
    """Each event of the part by itself, or the part where it holds one event or cannot be read as several."""
    if part.count == 1 or part.message.problem:
        return [part]
    try:
        events = part.split()
    except InvalidInput:
        return [part]
    part.message.open += len(events) - 1
    return events


def _merge(parts: Sequence[Part]) -> Part:
    first = parts[0]
    return Part(
        first.message, first.offset, sum(part.count for part in parts), b",".join(part.members for part in parts)
    )
