"""Opaque cursors: the sort key of the last row of a page."""

from __future__ import annotations

import base64
import binascii
from typing import TypeVar

import msgspec

from eventrunner.errors import FieldError, InvalidInput

__all__ = ["decode_cursor", "encode_cursor"]

T = TypeVar("T")


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
