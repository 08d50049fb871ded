"""Replays of history."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from eventrunner.api.openapi.call import Call, json_answer, json_body
from eventrunner.api.openapi.parameters import IDEMPOTENCY_KEY, PAGE, TENANT, in_path
from eventrunner.api.replays import ReplayBody
from eventrunner.api.texts import Time
from eventrunner.replay.record import Counts, State, Target

__all__ = ["CALLS"]


class ReplayDocument(msgspec.Struct, omit_defaults=True, rename={"since": "from", "until": "to"}):
    id: str
    tenant: str
    state: State
    progress: float
    since: Time
    until: Time
    type: str | None
    source: str | None
    filters: list[Any]
    target: Target
    dry_run: bool
    rate: float
    created: Time
    updated: Time
    counts: Counts
    errors: list[dict[str, str]]
    examples: list[dict[str, Any]] = []
    error: str = ""


class Replays(msgspec.Struct):
    replays: list[ReplayDocument]
    next: str | None


_REPLAY: Final = in_path("replay", pattern="^[A-Za-z0-9_-]{1,64}$")
_ALL: Final = "/api/v1/replays/{tenant}"

CALLS: Final = (
    Call(
        id="replays-list",
        method="get",
        path=_ALL,
        summary="Replays of the last 30 days, the newest first",
        path_parameters=(TENANT,),
        parameters=PAGE,
        answers={200: json_answer(Replays)},
        problems=(422,),
    ),
    Call(
        id="replays-create",
        method="post",
        path=_ALL,
        summary="Replay stored events to a consumer or a rule set",
        path_parameters=(TENANT,),
        parameters=(IDEMPOTENCY_KEY,),
        body=json_body(ReplayBody),
        answers={202: json_answer(ReplayDocument)},
        problems=(404, 409, 422, 429),
        untagged="What is made anew has no ETag yet (Idempotency-Key makes it once)",
    ),
    Call(
        id="replays-get",
        method="get",
        path=f"{_ALL}/{{replay}}",
        summary="How far a replay is, and what it did",
        path_parameters=(TENANT, _REPLAY),
        answers={200: json_answer(ReplayDocument)},
        problems=(404, 422),
    ),
    Call(
        id="replays-cancel",
        method="delete",
        path=f"{_ALL}/{{replay}}",
        summary="End a replay where it is",
        path_parameters=(TENANT, _REPLAY),
        answers={200: json_answer(ReplayDocument)},
        problems=(404, 409, 422),
        untagged="A replay has no ETag, as it changes with each step that it goes",
    ),
)
