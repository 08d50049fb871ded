"""Batches compressed once, where they begin, and joined without being unpacked.

A packed batch is a JSON batch in zstd, written as three frames: the opening bracket, the members, the closing bracket.
A decoder reads frames one after the other as one text (RFC 8878, section 3), so any zstd decoder sees the JSON array,
while whoever moves batches takes the brackets off and puts packed commas between the members of several.

Measured with 500 events of 656 bytes: a fifteenth of the size; packing takes 0.28 µs an event and unpacking 0.1 µs,
where each copy through a socket, a stream or a file costs about as much for the plain bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

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
    "bracket",
    "join_packed",
    "pack",
    "packed_members",
    "unpack",
    "unpack_frames",
    "unpacked_size",
]

ENCODING = "zstd"
"""The `Content-Encoding` of packed bodies."""
WORTH = 2048
"""Bytes from which on packing pays for its headers."""

_LEVEL = 1
_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 27}


def pack(text: bytes | memoryview) -> bytes:
    """One frame."""
    return zstd.compress(text, _LEVEL)


OPEN, COMMA, CLOSE = pack(b"["), pack(b","), pack(b"]")


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
    """Bytes of the first frame's content as its header says; those of the frame itself when it says nothing."""
    try:
        size = zstd.get_frame_info(packed).decompressed_size
    except zstd.ZstdError:
        size = None
    return len(packed) if size is None else size


def unpack(packed: bytes, limit: int) -> bytes:
    """The content of all frames. Raises BodyTooLarge beyond `limit` bytes, MalformedBody for what is not zstd."""
    return b"".join(unpack_frames(packed, limit))


def unpack_frames(packed: bytes, limit: int) -> Iterator[bytes]:
    """The content of each frame. Raises as `unpack`."""
    room = limit + 1
    while packed:
        decompressor = zstd.ZstdDecompressor(options=_OPTIONS)
        try:
            piece = decompressor.decompress(packed, room)
        except zstd.ZstdError as error:
            raise MalformedBody(f"The zstd body cannot be unpacked: {error}.") from error
        room -= len(piece)
        if room <= 0:
            raise BodyTooLarge(f"The body has more than {limit} bytes.")
        if not decompressor.eof:
            raise MalformedBody("The zstd body ends too early.")
        packed = decompressor.unused_data
        yield piece
