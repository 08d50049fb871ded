"""Events that a stage gave up."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from eventrunner.api.openapi.call import Answer, Call, json_answer
from eventrunner.api.openapi.parameters import CURSOR, EVENT_TYPE, FROM, TENANT, TO, choice, in_path, limit, text
from eventrunner.api.texts import Time

__all__ = ["CALLS"]


class DeadLetter(msgspec.Struct, omit_defaults=True):
    id: str
    stage: str
    event_id: str
    source: str
    type: str
    reason: str
    code: int
    destination: str
    attempts: int
    first: Time
    last: Time
    replayable: bool
    event: dict[str, Any]
    problem: str = ""
    """Why it cannot be replayed."""


class DeadLetters(msgspec.Struct):
    dead_letters: list[DeadLetter]
    next: str | None
    total: int
    stages: dict[str, int]
    """How many there are by stage."""


class LetterReplayed(msgspec.Struct):
    id: str
    stage: str
    replayed: bool


class Skipped(msgspec.Struct):
    id: str
    problem: str


class LettersReplayed(msgspec.Struct):
    replayed: int
    skipped: list[Skipped]
    next: str | None


class LettersDropped(msgspec.Struct):
    dropped: int
    next: str | None


_FILTERS: Final = (text("stage", pattern="^[A-Za-z0-9_-]{1,80}$"), EVENT_TYPE, FROM, TO)
_LETTER: Final = in_path("letter")
_ONE: Final = "/api/v1/dead-letters/{tenant}/{letter}"

CALLS: Final = (
    Call(
        id="dead-letters-list",
        method="get",
        path="/api/v1/dead-letters/{tenant}",
        summary="Dead letters, the oldest first, and how many there are by stage",
        path_parameters=(TENANT,),
        parameters=(*_FILTERS, limit(100, 1000), CURSOR),
        answers={200: json_answer(DeadLetters)},
        problems=(422,),
    ),
    Call(
        id="dead-letters-get",
        method="get",
        path=_ONE,
        summary="A dead letter: reason, stage, attempts, event",
        path_parameters=(TENANT, _LETTER),
        answers={200: json_answer(DeadLetter)},
        problems=(404, 422),
    ),
    Call(
        id="dead-letters-replay",
        method="post",
        path=f"{_ONE}/replay",
        summary="Send the event back to the stage that gave it up",
        path_parameters=(TENANT, _LETTER),
        answers={202: json_answer(LetterReplayed)},
        problems=(404, 409, 422),
        untagged="A dead letter has no ETag, as it never changes: its id is that of its content",
    ),
    Call(
        id="dead-letters-delete",
        method="delete",
        path=_ONE,
        summary="Drop a dead letter",
        path_parameters=(TENANT, _LETTER),
        answers={204: Answer()},
        problems=(404, 422),
        untagged="A dead letter has no ETag, as it never changes: its id is that of its content",
    ),
    Call(
        id="dead-letters-replay-all",
        method="post",
        path="/api/v1/dead-letters/{tenant}/replay",
        summary="Replay those that the filters fit; call again with `next` until it is null",
        path_parameters=(TENANT,),
        parameters=(*_FILTERS, CURSOR),
        answers={202: json_answer(LettersReplayed)},
        problems=(422,),
        untagged="The dead letters of a tenant have no ETag, as they come and go",
    ),
    Call(
        id="dead-letters-delete-all",
        method="delete",
        path="/api/v1/dead-letters/{tenant}",
        summary="Drop those that the filters fit, or all; call again with `next` until it is null",
        path_parameters=(TENANT,),
        parameters=(*_FILTERS, choice("all", ("true",), "Needed where no filter is given"), CURSOR),
        answers={200: json_answer(LettersDropped)},
        problems=(422,),
        untagged="The dead letters of a tenant have no ETag, as they come and go",
    ),
)
