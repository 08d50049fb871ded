"""Identifiers: random ones that sort by time, and ones that follow from their cause."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable

__all__ = ["IdMaker", "derived_id", "new_id"]

IdMaker = Callable[[], str]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id() -> str:
    """26 characters, Crockford base 32 of 48 bits of milliseconds and 80 random bits (a ULID in lower case)."""
    number = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10))
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def derived_id(*parts: str) -> str:
    """32 hex digits that depend on the parts alone, so that doing a thing again names it the same."""
    # At once, because a digest that is fed part by part takes twice as long.
    raws = [part.encode() for part in parts]
    text = b"".join([len(raw).to_bytes(4) + raw for raw in raws])
    return hashlib.blake2b(text, digest_size=16).hexdigest()
