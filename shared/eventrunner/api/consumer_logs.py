"""What a tenant's consumer has logged, and what it logs as it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_own
from eventrunner.api.bodies import read_choice, read_limit, read_time, refuse_unknown
from eventrunner.api.following import Followed, Place, follow, last_seen, next_place, sent, watch_keys
from eventrunner.api.places import Places
from eventrunner.clock import Clock
from eventrunner.errors import NotFound
from eventrunner.storage.consumer_logs import MOST_LINES, last_lines, log_subject
from eventrunner.storage.records import CONSUMERS, tenant_key
from eventrunner.storage.stream_reader import StoredMessage
from eventrunner.tenancy import LOGS_STREAM, check_tenant

__all__ = ["ConsumerLogCalls"]

_DEFAULT_LIMIT: Final = 100
_LIVE: Final = "text/event-stream"
_PATIENCE: Final = 10.0


class ConsumerLogCalls:
    def __init__(self, backend: Backend, places: Places, clock: Clock) -> None:
        """`places`: of all that is followed live."""
        self._backend = backend
        self._places = places
        self._clock = clock

    def get(self, request: Request, identity: Identity, tenant: str, name: str) -> Response:
        """The last lines as JSON; each as it comes when the caller accepts server-sent events or says `follow`."""
        check_own(identity, check_tenant(tenant))
        refuse_unknown(request.args, frozenset({"since", "limit", "follow"}))
        since, limit = read_time("since", request.args.get("since")), request.args.get("limit")
        most = read_limit(limit, _DEFAULT_LIMIT, MOST_LINES)
        is_live = read_choice(request.args, "follow", ("true", "false")) == "true"
        if self._backend.registry.get(CONSUMERS, tenant_key(tenant, name)) is None:
            raise NotFound(f"Not found: {self._backend.no_consumer(tenant, name)}.")
        work = partial(last_lines, tenant=tenant, consumer=name, since=since, most=most)
        lines = self._backend.registry.run(work, _PATIENCE)
        if is_live or request.accept_mimetypes.best_match(("application/json", _LIVE)) == _LIVE:
            return self._follow(request, identity, Followed(LOGS_STREAM, log_subject(tenant, name)), lines)
        body = b'{"logs": [' + b",".join(line.body for line in lines) + b"]}"
        return Response(body, content_type="application/json")

    def _follow(
        self, request: Request, identity: Identity, followed: Followed, lines: Sequence[StoredMessage]
    ) -> Response:
        """From the first of the lines on."""
        registry = self._backend.registry
        is_known = watch_keys(self._backend, identity, self._clock)
        place = last_seen(request) or (Place(lines[0].sequence) if lines else next_place(registry, LOGS_STREAM))
        give_back = self._places.take(followed.subject.split(".")[1])
        return follow(registry, followed, place, is_known, _written, give_back)


def _written(message: StoredMessage, start: int) -> Iterator[bytes]:
    if not start:
        yield sent(Place(message.sequence, 0), message.body)
