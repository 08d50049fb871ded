"""Dead letters: seen, replayed, dropped, one by one or all that a filter fits.

A call on many works for some seconds and answers where to go on, so that it never runs into a time limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec
from flask import Request, Response
from nats.aio.client import Client

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_own
from eventrunner.api.bodies import read_choice, read_limit, read_time, read_word, refuse_unknown
from eventrunner.errors import FieldError, InvalidInput
from eventrunner.source.letter_box import LetterBox
from eventrunner.source.letters import LetterFilter
from eventrunner.stage.answers import json_response
from eventrunner.tenancy import check_tenant

__all__ = ["DeadLetterCalls"]

_FILTERS = frozenset({"stage", "type", "from", "to"})
_STAGE = re.compile(r"[A-Za-z0-9_-]{1,80}")
_DEFAULT_LIMIT = 100
_MAX_LIMIT = 1000
_PATIENCE = 30.0
"""Seconds; the calls end by themselves well before."""
T = TypeVar("T")


class DeadLetterCalls:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def list_all(self, request: Request, identity: Identity, tenant: str) -> Response:
        check_own(identity, tenant)
        refuse_unknown(request.args, _FILTERS | {"limit", "cursor"})
        wanted, cursor = _filter(request, tenant), read_word(request.args, "cursor")
        limit = read_limit(request.args.get("limit"), _DEFAULT_LIMIT, _MAX_LIMIT)
        counts = self._run(lambda box: box.counts(tenant))
        page = self._run(lambda box: box.page(wanted, limit, cursor))
        document = {
            "dead_letters": [letter.document() for letter in page.letters],
            "next": page.next_cursor,
            "total": sum(counts.values()),
            "stages": counts,
        }
        return Response(msgspec.json.encode(document), content_type="application/json")

    def get(self, request: Request, identity: Identity, tenant: str, letter: str) -> Response:
        check_own(identity, check_tenant(tenant))
        found = self._run(lambda box: box.get(tenant, letter))
        return Response(msgspec.json.encode(found.document()), content_type="application/json")

    def replay(self, request: Request, identity: Identity, tenant: str, letter: str) -> Response:
        check_own(identity, check_tenant(tenant))

        async def work(box: LetterBox) -> str:
            found = await box.get(tenant, letter)
            await box.replay([found])
            return found.stage

        return json_response({"id": letter, "stage": self._run(work), "replayed": True}, 202)

    def drop(self, request: Request, identity: Identity, tenant: str, letter: str) -> Response:
        check_own(identity, check_tenant(tenant))

        async def work(box: LetterBox) -> None:
            await box.drop([await box.get(tenant, letter)])

        self._run(work)
        return Response(status=204)

    def replay_all(self, request: Request, identity: Identity, tenant: str) -> Response:
        check_own(identity, tenant)
        refuse_unknown(request.args, _FILTERS | {"cursor"})
        wanted, cursor = _filter(request, tenant), read_word(request.args, "cursor")
        swept = self._run(lambda box: box.replay_all(wanted, cursor))
        skipped = [{"id": letter.id, "problem": letter.problem} for letter in swept.skipped]
        return json_response({"replayed": swept.done, "skipped": skipped, "next": swept.next_cursor}, 202)

    def drop_all(self, request: Request, identity: Identity, tenant: str) -> Response:
        """Without a filter only with `all=true`, as there is no way back."""
        check_own(identity, tenant)
        refuse_unknown(request.args, _FILTERS | {"cursor", "all"})
        wanted, cursor = _filter(request, tenant), read_word(request.args, "cursor")
        if read_choice(request.args, "all", ("true",)) is None and not _FILTERS & request.args.keys():
            message = "say all=true, or stage, type, from or to"
            raise InvalidInput(
                f"This would drop all dead letters of {tenant}: {message}.", (FieldError("all", message),)
            )
        swept = self._run(lambda box: box.drop_all(wanted, cursor))
        return json_response({"dropped": swept.done, "next": swept.next_cursor})

    def _run(self, work: Callable[[LetterBox], Coroutine[Any, Any, T]]) -> T:
        async def connected(client: Client) -> T:
            return await work(LetterBox(client))

        return self._backend.registry.run(connected, _PATIENCE)


def _filter(request: Request, tenant: str) -> LetterFilter:
    """Raises InvalidInput that names the wrong parameter."""
    stage = request.args.get("stage")
    if stage is not None and not _STAGE.fullmatch(stage):
        raise InvalidInput(f"{stage!r} is not a stage.", (FieldError("stage", "such as event-runner"),))
    return LetterFilter(
        check_tenant(tenant),
        stage,
        read_word(request.args, "type"),
        read_time("from", request.args.get("from")),
        read_time("to", request.args.get("to")),
    )
