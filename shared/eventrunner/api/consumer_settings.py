"""What the query of an upload says: which events the consumer is handed, and within which limits."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from flask import Request

from eventrunner.api.bodies import read_choice, refuse_unknown
from eventrunner.billing.consumer_limits import HARD_LIMITS
from eventrunner.billing.plans import Plan
from eventrunner.errors import FieldError, InvalidInput
from eventrunner.storage.records import Limits, Subscription

__all__ = [
    "DEPLOYED_STREAMS",
    "INSTANCES",
    "MOST_WORDS",
    "STREAMS",
    "WORD_PATTERN",
    "ConsumerSettings",
    "read_settings",
]

STREAMS: Final = ("results", "events")
DEPLOYED_STREAMS: Final = ("results",)
"""Those that a consumer may be deployed on."""
_NOT_BEFORE: Final = (
    "Events before the rules cannot be had by consumers: the stream EVENTS hands each to the event engine alone. Leave "
    "`stream` out: on `results` a consumer is handed the events after the rules."
)
INSTANCES: Final = ("fresh", "reuse")
MOST_WORDS: Final = 32
"""Types, and sources, that a consumer may name."""
WORD_PATTERN: Final = r"^[^\u0000-\u001f\u007f]{1,256}$"
_WORD: Final = re.compile(WORD_PATTERN)
_KNOWN: Final = frozenset({"stream", "type", "source", "ordered", "instance", *HARD_LIMITS})


class ConsumerSettings(NamedTuple):
    subscription: Subscription
    limits: Limits
    instance: Literal["fresh", "reuse"]


def read_settings(request: Request, plan: Plan) -> ConsumerSettings:
    """Raises InvalidInput that names every wrong parameter, OverPlan."""
    refuse_unknown(request.args, _KNOWN)
    problems: list[FieldError] = []
    asked = {name: number for name in HARD_LIMITS if (number := _number(request, name, problems)) is not None}
    types, sources = _words(request, "type", problems), _words(request, "source", problems)
    if request.args.get("stream") == "events":
        problems.append(FieldError("stream", _NOT_BEFORE))
    if problems:
        why = _NOT_BEFORE if problems[-1].message is _NOT_BEFORE else "The parameters are not valid."
        raise InvalidInput(why, tuple(problems))
    read_choice(request.args, "stream", DEPLOYED_STREAMS)
    ordered = read_choice(request.args, "ordered", ("true", "false")) == "true"
    instance = read_choice(request.args, "instance", INSTANCES)
    subscription = Subscription("results", types, sources, ordered)
    return ConsumerSettings(subscription, plan.consumer_limits(asked), "reuse" if instance == "reuse" else "fresh")


def _number(request: Request, name: str, problems: list[FieldError]) -> int | None:
    text = request.args.get(name)
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) < 16 and 1 <= int(text) <= HARD_LIMITS[name]:
        return int(text)
    problems.append(FieldError(name, f"a whole number from 1 to {HARD_LIMITS[name]}"))
    return None


def _words(request: Request, name: str, problems: list[FieldError]) -> list[str]:
    words = request.args.getlist(name)
    if len(words) > MOST_WORDS:
        problems.append(FieldError(name, f"at most {MOST_WORDS} times"))
    elif any(_WORD.fullmatch(word) is None for word in words):
        problems.append(FieldError(name, "1 to 256 characters, none of them a control"))
    return words
