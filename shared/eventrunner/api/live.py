"""A tenant's results as they come, as server-sent events."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import msgspec
from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_own
from eventrunner.api.bodies import read_word, refuse_unknown
from eventrunner.api.following import Followed, Place, follow, last_seen, next_place, sent, watch_keys
from eventrunner.api.places import Places
from eventrunner.clock import Clock
from eventrunner.events.costs import charged_batch
from eventrunner.events.headers import ONLY_HEADER
from eventrunner.events.json_format import split_batch
from eventrunner.events.packing import ENCODING
from eventrunner.storage.stream_reader import StoredMessage
from eventrunner.tenancy import RESULTS_STREAM, check_tenant, subject

__all__ = ["LiveCalls"]

_UNPACK_LIMIT = 64 * 1024 * 1024


class _Type(msgspec.Struct):
    type: str = ""


_type_of = msgspec.json.Decoder(_Type)


class LiveCalls:
    def __init__(self, backend: Backend, places: Places, clock: Clock) -> None:
        """`places`: of all that is followed live, as each holds a thread."""
        self._backend = backend
        self._clock = clock
        self._places = places

    def stream(self, request: Request, identity: Identity, tenant: str) -> Response:
        check_own(identity, check_tenant(tenant))
        refuse_unknown(request.args, frozenset({"type"}))
        type = read_word(request.args, "type")
        registry, last = self._backend.registry, last_seen(request)
        is_known = watch_keys(self._backend, identity, self._clock)
        if last is None:
            last = next_place(registry, RESULTS_STREAM)
        give_back = self._places.take(tenant)
        results = Followed(RESULTS_STREAM, subject(RESULTS_STREAM, tenant))
        return follow(registry, results, last, is_known, partial(_written, type=type), give_back)


def _written(message: StoredMessage, start: int, type: str | None) -> Iterator[bytes]:
    if ONLY_HEADER in message.headers:
        # A replay for one consumer is no news.
        return
    packed = message.headers.get("Content-Encoding") == ENCODING
    body = charged_batch(message.body, _UNPACK_LIMIT) if packed else message.body
    events = split_batch(body) if body.lstrip()[:1] == b"[" else [msgspec.Raw(body)]
    for index, raw in enumerate(events[start:], start):
        if type is None or _type_of.decode(raw).type == type:
            yield sent(Place(message.sequence, index), bytes(raw))
