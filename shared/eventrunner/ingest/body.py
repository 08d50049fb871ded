"""Bodies in gzip and zstd, unpacked no further than the limit allows."""

from __future__ import annotations

import zlib

from eventrunner.errors import BodyTooLarge, MalformedBody, UnsupportedMedia
from eventrunner.events.packing import unpack

__all__ = ["decompress"]

_GZIP = 16 + zlib.MAX_WBITS


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """The plain body. Raises BodyTooLarge, MalformedBody or UnsupportedMedia."""
    if len(body) > limit:
        raise _too_large(limit)
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _gunzip(body, limit)
        case "zstd":
            return unpack(body, limit)
        case other:
            raise UnsupportedMedia(f"Content-Encoding {other}: send gzip, zstd or none.")


def _gunzip(body: bytes, limit: int) -> bytes:
    plain = bytearray()
    # A gzip file may have several members, one after the other.
    while body:
        unpacker = zlib.decompressobj(_GZIP)
        try:
            plain += unpacker.decompress(body, limit - len(plain) + 1)
        except zlib.error as error:
            raise MalformedBody(f"The gzip body cannot be unpacked: {error}.") from error
        if len(plain) > limit:
            raise _too_large(limit)
        if not unpacker.eof:
            raise MalformedBody("The gzip body ends too early.")
        body = unpacker.unused_data
    return bytes(plain)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit} bytes; send it in several requests.")
