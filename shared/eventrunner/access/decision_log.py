"""The log of decisions: who asked for what of whom, the answer, why, and how long it took; never a credential.

The same record wherever the policy is asked: in the authorizer, the local gateway and ingest over gRPC. Both answers
are counted. A refusal is a line at level info; what is allowed is one at level debug only, as writing a line (20 µs)
costs many times what the decision does. Who is not known is refused before the policy is asked.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from prometheus_client import Counter

from eventrunner.access.policy import Verdict
from eventrunner.errors import Unauthenticated

__all__ = ["DecisionLog"]

_log = logging.getLogger("eventrunner.decisions")

_DECISIONS: Final = Counter("eventrunner_decisions_total", "Decisions of the policy by answer.", ["answer"])
_COUNTERS: Final = {verdict: _DECISIONS.labels(verdict.answer) for verdict in Verdict}
_LINES_PER_SECOND: Final = 100
"""Of refusals: who is refused all the time shall not fill a disk."""
_LONGEST: Final = 200
"""Characters of a value that a line keeps."""


class DecisionLog:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._denied = _Refusals(clock)
        # Apart, so that who needs no credentials to be refused cannot crowd the others out.
        self._unknown = _Refusals(clock)

    def note(self, verdict: Verdict, seconds: float, question: Callable[[], Mapping[str, Any]]) -> None:
        """`question` gives the policy's input document; it may be of any form."""
        _COUNTERS[verdict].inc()
        if verdict is Verdict.ALLOWED:
            if _log.isEnabledFor(logging.DEBUG):
                _log.debug("%s", _line(_decided(verdict, question()), seconds))
        else:
            self._denied.write(lambda: _decided(verdict, question()), seconds)

    def note_unknown(self, error: Unauthenticated, seconds: float) -> None:
        """Not counted: the policy has decided nothing."""
        members = {"key": error.key, "answer": Verdict.DENIED.answer, "why": _short(error.detail)}
        self._unknown.write(lambda: members, seconds)


class _Refusals:
    """Lines, so many a second at most."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = 0
        self._written = 0
        self._left_out = 0

    def write(self, describe: Callable[[], dict[str, Any]], seconds: float) -> None:
        if not self._has_room():
            self._left_out += 1
            return
        members = describe()
        if self._left_out:
            members["left_out"], self._left_out = self._left_out, 0
        _log.info("%s", _line(members, seconds))

    def _has_room(self) -> bool:
        second = int(self._clock())
        if second != self._second:
            self._second, self._written = second, 0
        self._written += 1
        return self._written <= _LINES_PER_SECOND


def _line(members: Mapping[str, Any], seconds: float) -> str:
    return json.dumps({**members, "ms": round(seconds * 1e3, 3)}, ensure_ascii=False)


def _decided(verdict: Verdict, asked: Mapping[str, Any]) -> dict[str, Any]:
    subject = asked.get("subject")
    who = subject if isinstance(subject, dict) else {}
    return {
        "subject": _short(who.get("id")),
        "of": _short(who.get("tenant")),
        "roles": _short(who.get("roles")),
        "resource": _short(asked.get("resource")),
        "action": _short(asked.get("action")),
        "tenant": _short(asked.get("tenant")),
        "answer": verdict.answer,
        "why": verdict.value,
    }


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:_LONGEST]
