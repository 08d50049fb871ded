"""Pages of lists that are small enough to be read whole: `limit`, and an opaque `cursor` from the answer's `next`.

A cursor holds the place of the last item, so that what is added or deleted meanwhile shifts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from flask import Request

from eventrunner.api.bodies import read_limit, read_word, refuse_unknown
from eventrunner.storage.cursors import decode_cursor, encode_cursor

__all__ = ["DEFAULT_LIMIT", "MAX_LIMIT", "read_page"]

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
T = TypeVar("T")


def read_page(
    request: Request, items: Sequence[T], place: Callable[[T], str], *, newest_first: bool = False
) -> tuple[list[T], str | None]:
    """The page that the request asks for, in the order of unique places, and `next`. Raises InvalidInput."""
    refuse_unknown(request.args, frozenset({"limit", "cursor"}))
    limit = read_limit(request.args.get("limit"), DEFAULT_LIMIT, MAX_LIMIT)
    cursor = read_word(request.args, "cursor")
    ordered = sorted(((place(item), item) for item in items), key=lambda pair: pair[0], reverse=newest_first)
    if cursor is not None:
        (last,) = decode_cursor(cursor, tuple[str])
        ordered = [(at, item) for at, item in ordered if (at < last if newest_first else at > last)]
    page = ordered[:limit]
    following = encode_cursor((page[-1][0],)) if len(ordered) > limit else None
    return [item for _, item in page], following
