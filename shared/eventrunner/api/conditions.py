"""Conditional requests (RFC 9110 section 13): nobody overwrites what they have not seen, nobody fetches what they have.

A tag is the registry's revision of what is written, and a digest of what an answer shows besides.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Final

from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.errors import FieldError, InvalidInput, PreconditionFailed
from eventrunner.stage.http import RouteHandler
from eventrunner.storage.records import Key

__all__ = ["TAGS_PATTERN", "Condition", "check_revision", "tagged", "tenant_tag", "untagged"]

_TAG: Final = r'(W/)?"[!#-~]*"'
TAGS_PATTERN: Final = rf"^(\*|{_TAG}( ?, ?{_TAG})*)$"
_TAGS: Final = re.compile(TAGS_PATTERN)


class Condition:
    """What a request that writes says of the state that it expects."""

    def __init__(self, request: Request) -> None:
        """Raises InvalidInput for headers that hold no tags."""
        for name in ("If-Match", "If-None-Match"):
            _check_header(request, name)
        self._match = request.if_match if "If-Match" in request.headers else None
        self._none_match = request.if_none_match if "If-None-Match" in request.headers else None

    def check(self, tag: str | None) -> None:
        """`tag`: of the thing as it is, None where there is none. Raises PreconditionFailed."""
        if self._match is not None and (tag is None or not (self._match.star_tag or self._match.is_strong(tag))):
            now = f'its ETag is "{tag}" now' if tag is not None else "it is not there"
            raise PreconditionFailed(f"This is not as If-Match says: {now}. Get it again.")
        none_match = self._none_match
        if none_match is not None and tag is not None and (none_match.star_tag or none_match.contains_weak(tag)):
            raise PreconditionFailed(f'This is there already, with the ETag "{tag}", which If-None-Match excludes.')

    def check_untagged(self) -> None:
        """Of a thing that has no tag. Raises PreconditionFailed."""
        if self._match is not None and not self._match.star_tag:
            raise PreconditionFailed("This has no ETag, so it is not as If-Match says. Send the call without it.")
        if self._none_match is not None and self._none_match.star_tag:
            raise PreconditionFailed("This is there already, which If-None-Match excludes. Send the call without it.")


def untagged(handler: RouteHandler) -> RouteHandler:
    """The handler of a call on what has no ETag: whoever names one expects that it is looked at."""

    @functools.wraps(handler)
    def handle(request: Request, identity: Identity, **parameters: str) -> Response:
        Condition(request).check_untagged()
        return handler(request, identity, **parameters)

    return handle


def check_revision(condition: Condition) -> Callable[[int | None], None]:
    """For things whose tag is their revision."""
    return lambda revision: condition.check(None if revision is None else str(revision))


def tagged(request: Request, response: Response, tag: str) -> Response:
    """The answer with its tag; 304 without the content where a GET says that the caller has it."""
    response.set_etag(tag)
    if request.method == "GET":
        _check_header(request, "If-None-Match")
        if request.if_none_match.contains_weak(tag):
            unchanged = Response(status=304)
            unchanged.set_etag(tag)
            return unchanged
    return response


def tenant_tag(revision: int, keys: Sequence[Key]) -> str:
    """Of a tenant's document, which shows its keys too."""
    return f"{revision}.{zlib.crc32(' '.join(key.id for key in keys).encode()):08x}"


def _check_header(request: Request, name: str) -> None:
    text = request.headers.get(name)
    if text is not None and _TAGS.fullmatch(text) is None:
        raise InvalidInput(f"{name} is not valid.", (FieldError(name, '* or tags in quotes, such as "17"'),))
