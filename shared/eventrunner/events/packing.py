"""Batches compressed once, where they begin, and joined without being unpacked.

A packed batch is a JSON batch in zstd, written as three frames: the opening bracket, the members, the closing bracket.
A decoder reads frames one after the other as one text (RFC 8878, section 3), so any zstd decoder sees the JSON array,
while whoever moves batches takes the brackets off and puts packed commas between the members of several.

Measured with 500 events of 656 bytes: a fifteenth of the size; packing takes 0.28 µs an event and unpacking 0.1 µs,
where each copy through a socket, a stream or a file costs about as much for the plain bytes.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from eventrunner.errors import BodyTooLarge, MalformedBody

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = [
    "CLOSE",
    "COMMA",
    "ENCODING",
    "OPEN",
    "WORTH",
    "Frame",
    "bracket",
    "frames",
    "join_packed",
    "note",
    "pack",
    "packed_members",
    "unpack",
    "unpacked_size",
]

ENCODING = "zstd"
"""The `Content-Encoding` of packed bodies."""
WORTH = 2048
"""Bytes from which on packing pays for its headers."""

_LEVEL = 1
_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 27}

_NOTE_MAGIC = 0x184D2A5E
_NOTE = _NOTE_MAGIC.to_bytes(4, "little")
_NOTE_HEAD = struct.Struct("<II")


class Frame(NamedTuple):
    content: bytes
    end: int
    """Where the next frame begins."""
    is_note: bool


def pack(text: bytes | memoryview) -> bytes:
    """One frame."""
    return zstd.compress(text, _LEVEL)


OPEN, COMMA, CLOSE = pack(b"["), pack(b","), pack(b"]")


def note(content: bytes) -> bytes:
    """A frame that every decoder passes over (RFC 8878, section 3.1.2), for whoever knows of it."""
    return _NOTE_HEAD.pack(_NOTE_MAGIC, len(content)) + content


def bracket(members: bytes) -> bytes:
    """The packed batch of packed members."""
    return OPEN + members + CLOSE


def packed_members(batch: bytes) -> bytes | None:
    """What `bracket` was given; None for a body that was packed in another way."""
    if len(batch) > len(OPEN) + len(CLOSE) and batch.startswith(OPEN) and batch.endswith(CLOSE):
        return batch[len(OPEN) : -len(CLOSE)]
    return None


def join_packed(parts: Iterable[bytes]) -> bytes:
    """The packed members of several batches as those of one."""
    return COMMA.join(parts)


def unpacked_size(packed: bytes) -> int:
    """Bytes of all frames' content as their headers say; those of a frame itself where it says nothing."""
    view, at, total = memoryview(packed), 0, 0
    while at < len(packed):
        try:
            size = zstd.get_frame_size(view[at:])
            if not packed.startswith(_NOTE, at):
                content = zstd.get_frame_info(view[at:]).decompressed_size
                total += size if content is None else content
        except zstd.ZstdError:
            return total + len(packed) - at
        at += size
    return total


def unpack(packed: bytes, limit: int) -> bytes:
    """The content of all frames. Raises BodyTooLarge beyond `limit` bytes, MalformedBody for what is not zstd."""
    return b"".join(frame.content for frame in frames(packed, limit) if not frame.is_note)


def frames(packed: bytes, limit: int) -> Iterator[Frame]:
    """All frames, notes too. Raises as `unpack`."""
    view, at, room = memoryview(packed), 0, limit + 1
    while at < len(packed):
        if packed.startswith(COMMA, at):
            content, end = b",", at + len(COMMA)
        else:
            end = at + _frame_size(view[at:])
            if packed.startswith(_NOTE, at):
                yield Frame(packed[at + _NOTE_HEAD.size : end], end, is_note=True)
                at = end
                continue
            content = _decompress(view[at:end], room)
        room -= len(content)
        if room <= 0:
            raise BodyTooLarge(f"The body has more than {limit} bytes.")
        yield Frame(content, end, is_note=False)
        at = end


def _frame_size(packed: memoryview) -> int:
    try:
        return zstd.get_frame_size(packed)
    except zstd.ZstdError as error:
        raise MalformedBody("The zstd body cannot be unpacked: it is not zstd, or it ends too early.") from error


def _decompress(frame: memoryview, room: int) -> bytes:
    """At most `room` bytes of the content."""
    decompressor = zstd.ZstdDecompressor(options=_OPTIONS)
    try:
        content = decompressor.decompress(frame, room)
    except zstd.ZstdError as error:
        raise MalformedBody(f"The zstd body cannot be unpacked: {error}.") from error
    if len(content) < room and not decompressor.eof:
        raise MalformedBody("The zstd body ends too early.")
    return content
