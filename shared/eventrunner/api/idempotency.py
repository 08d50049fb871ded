"""`Idempotency-Key`: a POST that makes something makes it once, however often it is sent within a day.

Before anything is made, a record reserves the place in the registry that it will have. So a second request finds the
first one's answer, or what was made by one that could not say so: its process died, or the registry did not answer it.
Where nothing is there, the place is taken, so that a write that is still on its way comes too late. An answer that is
shown once, such as the text of an API key, is never stored: who asks again gets 409 with the id, and can delete the key
or rotate it.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec
from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend
from eventrunner.clock import Clock
from eventrunner.errors import Conflict, EventRunnerError, FieldError, InvalidInput, QuotaExceeded
from eventrunner.ids import derived_id
from eventrunner.storage.records import IDEMPOTENCY, Record, tenant_key

__all__ = ["HEADER", "KEY_PATTERN", "Idempotency", "Place"]

HEADER: Final = "Idempotency-Key"
KEY_PATTERN: Final = "^[!-~]{1,255}$"
_KEY: Final = re.compile(KEY_PATTERN)
_DEAD_SECONDS: Final = 60.0
"""A request that has not ended after so long has died with its process."""
_UNDER_WAY: Final = f"The request with this {HEADER} is still under way; ask again in a moment."
_FULL_SECONDS: Final = 3600.0
"""Reservations are kept for a day, so that a few of them have gone by then."""


class Place(NamedTuple):
    """Where what is made will be. It is to be written as the first revision of its key (`update` from 0), so that it
    cannot come any more once the place is taken."""

    bucket: str
    key: str
    id: str
    tenant: str
    """Of whose share the reservation is."""


class _Attempt(Record):
    id: str
    key: str
    """What is made will have them."""
    digest: str
    """Of the body."""
    begun: float
    """Seconds since 1970; 0: it has ended, and nobody knows what of it was written."""
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
        place: Place,
        make: Callable[[], Response],
        found: Callable[[bytes], Response],
        *,
        is_shown_once: bool = False,
    ) -> Response:
        """Calls `make`, which writes to the place, at most once for an Idempotency-Key; `found` finishes what an
        earlier request has written to its own place and answers that. Raises InvalidInput for another body with the
        same key, Conflict, QuotaExceeded when the tenant has too many of them, and what the two raise."""
        key = request.headers.get(HEADER)
        if key is None:
            return make()
        if _KEY.fullmatch(key) is None:
            message = "1 to 255 printable ASCII characters"
            raise InvalidInput(f"{HEADER} is not valid.", (FieldError(HEADER, message),))
        digest = derived_id(identity.tenant, identity.subject, request.method, request.path, key)
        name = tenant_key(place.tenant, digest)
        attempt = _Attempt(place.id, place.key, hashlib.sha256(request.get_data()).hexdigest(), self._now())
        entry = self._backend.registry.entry(IDEMPOTENCY, name)
        if entry is None:
            revision = self._reserve(name, attempt, 0)
            self._check_share(place.tenant, name, revision)
            return self._finish(name, attempt, revision, make, is_shown_once)
        earlier = msgspec.json.decode(entry[0], type=_Attempt)
        _check_same(earlier, attempt.digest)
        if earlier.status:
            return _again(earlier)
        if attempt.begun - earlier.begun < _DEAD_SECONDS:
            raise Conflict(_UNDER_WAY)
        there = self._backend.there_or_never(place.bucket, earlier.key)
        if there is None:
            return self._finish(name, attempt, self._reserve(name, attempt, entry[1]), make, is_shown_once)
        response = self._finish(name, earlier, entry[1], lambda: found(there), is_shown_once)
        return _again(earlier) if is_shown_once else response

    def _reserve(self, name: str, attempt: _Attempt, revision: int) -> int:
        try:
            return self._backend.registry.update(IDEMPOTENCY, name, attempt.to_json(), revision)
        except Conflict:
            raise Conflict(_UNDER_WAY) from None

    def _check_share(self, tenant: str, name: str, revision: int) -> None:
        """After the reservation, so that requests at once do not pass together; what is too much is taken back."""
        registry, most = self._backend.registry, self._backend.settings.max_idempotency_keys
        if registry.count(IDEMPOTENCY, tenant_key(tenant, "*")) > most:
            registry.forget(IDEMPOTENCY, name, revision)
            raise QuotaExceeded(
                f"{tenant} has sent {most} {HEADER}s within a day, as many as are kept; nothing was done. Send this "
                "without one, or wait.",
                _FULL_SECONDS,
            )

    def _finish(
        self, name: str, attempt: _Attempt, revision: int, answer: Callable[[], Response], is_shown_once: bool
    ) -> Response:
        """Answers, once that is written down. Else the next request with the key may go on where this one ended."""
        try:
            response = answer()
            attempt.status = response.status_code
            attempt.answer = "" if is_shown_once else response.get_data(as_text=True)
            self._reserve(name, attempt, revision)
        except Exception as error:
            with contextlib.suppress(EventRunnerError):
                self._give_up(name, attempt, revision, error)
            raise
        return response

    def _give_up(self, name: str, attempt: _Attempt, revision: int, error: Exception) -> None:
        if _is_refusal(error) and not attempt.status:
            # Nothing was made, so another body may come with the same key.
            self._backend.registry.forget(IDEMPOTENCY, name, revision)
            return
        attempt.status, attempt.answer, attempt.begun = 0, "", 0
        self._backend.registry.update(IDEMPOTENCY, name, attempt.to_json(), revision)

    def _now(self) -> float:
        return self._clock().timestamp()


def _is_refusal(error: Exception) -> bool:
    """Whether it surely was raised before anything was changed. A conflict may come after a first write."""
    if not isinstance(error, EventRunnerError):
        return False
    return error.status < HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Conflict)


def _check_same(earlier: _Attempt, digest: str) -> None:
    if earlier.digest != digest:
        message = "was sent before with another body"
        raise InvalidInput(f"This {HEADER} {message}: use a new one.", (FieldError(HEADER, message),))


def _again(attempt: _Attempt) -> Response:
    if not attempt.answer:
        raise Conflict(
            f"This made {attempt.id} already, whose text was shown once and is stored nowhere. If it is lost, delete "
            f"{attempt.id} or rotate it."
        )
    headers = {"Idempotency-Replayed": "true"}
    return Response(attempt.answer, attempt.status, headers, content_type="application/json")
