"""Opaque cursors: the sort key of the last row of a page."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Final, TypeVar

import msgspec

from eventrunner.errors import FieldError, InvalidInput

__all__ = ["LAST_PLACE", "Moment", "Place", "decode_cursor", "encode_cursor"]

T = TypeVar("T")

LAST_PLACE: Final = 2**63 - 1
"""What SQLite, CQL and ClickHouse hold; sequences of JetStream do not come near it."""
Place = Annotated[int, msgspec.Meta(ge=0, le=LAST_PLACE)]
"""A number that something was given in the order in which it came."""
Moment = Annotated[int, msgspec.Meta(ge=-LAST_PLACE - 1, le=LAST_PLACE)]
"""Microseconds since 1970, before which events may have happened too."""


def encode_cursor(key: tuple[int | bytes | str, ...]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()


def decode_cursor(cursor: str, shape: type[T]) -> T:
    """The key again. Raises InvalidInput unless it has the shape."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.json.decode(raw, type=shape)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        message = "not a cursor of this list"
        raise InvalidInput("The cursor is " + message + ".", (FieldError("cursor", message),)) from None
