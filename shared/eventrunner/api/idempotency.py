"""`Idempotency-Key`: a POST that makes something makes it once, however often it is sent within a day.

Before anything is made, a record reserves the id that it will have. So a second request finds the first one's answer,
or what a process made that died before it could say so. An answer that is shown once, such as the text of an API key,
is never stored: who asks again gets 409 with the id, and can delete the key or rotate it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Final

import msgspec
from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend
from eventrunner.clock import Clock
from eventrunner.errors import Conflict, EventRunnerError, FieldError, InvalidInput
from eventrunner.ids import derived_id, new_id
from eventrunner.storage.records import IDEMPOTENCY, Record

__all__ = ["KEY_PATTERN", "Idempotency"]

_HEADER: Final = "Idempotency-Key"
KEY_PATTERN: Final = "^[!-~]{1,255}$"
_KEY: Final = re.compile(KEY_PATTERN)
_DEAD_SECONDS: Final = 60.0
"""A request that has not ended after so long has died with its process."""


class _Attempt(Record):
    id: str
    """What is made will have it."""
    digest: str
    """Of the body."""
    begun: float
    """Seconds since 1970."""
    status: int = 0
    """0 until it is made."""
    answer: str = ""


class Idempotency:
    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock

    def once(
        self,
        request: Request,
        identity: Identity,
        make: Callable[[str], Response],
        find: Callable[[str], Response | None],
        *,
        is_shown_once: bool = False,
    ) -> Response:
        """Calls `make` with the id for what it makes, at most once for an Idempotency-Key; `find` answers what is
        there of that id. Raises InvalidInput for another body with the same key, Conflict, and what the two raise."""
        key = request.headers.get(_HEADER)
        if key is None:
            return make(new_id())
        if _KEY.fullmatch(key) is None:
            message = "1 to 255 printable ASCII characters"
            raise InvalidInput(f"{_HEADER} is not valid.", (FieldError(_HEADER, message),))
        name = derived_id(identity.tenant, identity.subject, request.method, request.path, key)
        attempt, revision = self._begin(name, hashlib.sha256(request.get_data()).hexdigest())
        if attempt.status:
            return _again(attempt)
        found = find(attempt.id)
        response = found if found is not None else self._make(name, make, attempt.id)
        attempt.status = response.status_code
        attempt.answer = "" if is_shown_once else response.get_data(as_text=True)
        self._backend.registry.update(IDEMPOTENCY, name, attempt.to_json(), revision)
        if found is not None and is_shown_once:
            return _again(attempt)
        return response

    def _begin(self, name: str, digest: str) -> tuple[_Attempt, int]:
        """A new attempt, one that has ended, or one whose process died."""
        registry, now = self._backend.registry, self._clock().timestamp()
        entry = registry.entry(IDEMPOTENCY, name)
        if entry is None:
            attempt = _Attempt(new_id(), digest, now)
            return attempt, registry.create(IDEMPOTENCY, name, attempt.to_json())
        attempt = msgspec.json.decode(entry[0], type=_Attempt)
        if attempt.digest != digest:
            message = "was sent before with another body"
            raise InvalidInput(f"This {_HEADER} {message}: use a new one.", (FieldError(_HEADER, message),))
        if attempt.status:
            return attempt, entry[1]
        if now - attempt.begun < _DEAD_SECONDS:
            raise Conflict(f"The request with this {_HEADER} is still under way; ask again in a moment.")
        attempt.begun = now
        return attempt, registry.update(IDEMPOTENCY, name, attempt.to_json(), entry[1])

    def _make(self, name: str, make: Callable[[str], Response], identifier: str) -> Response:
        try:
            return make(identifier)
        except EventRunnerError:
            # Nothing was made, so the same request may be sent again.
            self._backend.registry.purge(IDEMPOTENCY, name)
            raise


def _again(attempt: _Attempt) -> Response:
    if not attempt.answer:
        raise Conflict(
            f"This made {attempt.id} already, whose text was shown once and is stored nowhere. If it is lost, delete "
            f"{attempt.id} or rotate it."
        )
    headers = {"Idempotency-Replayed": "true"}
    return Response(attempt.answer, attempt.status, headers, content_type="application/json")
