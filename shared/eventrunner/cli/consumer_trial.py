"""One event after the other through a consumer's guest on this machine, as the function `tenant-consumer` does it.

Needs wasmtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eventrunner.events import Event
from eventrunner.handlers.consumer_messages import message_of
from eventrunner.handlers.consumer_publishing import LoopDetected, Policy, Publishing, Unpublishable
from eventrunner.storage.records import Limits
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.host import Host
from eventrunner.wasm.loading import load_guest
from eventrunner.wasm.modules import ModuleCache
from eventrunner.wasm.outcomes import Handled, LogLine, OverLimit, Refused, Spent, Trapped

__all__ = ["Published", "Trial", "Tried"]

_WORDS = {Handled: "handled", Refused: "refused", Trapped: "trapped", OverLimit: "over a limit"}
_UNPUBLISHABLE = "unpublishable"


@dataclass(frozen=True, slots=True)
class Published:
    subject: str
    event: Event
    """What becomes of it."""


@dataclass(frozen=True, slots=True)
class Tried:
    event: Event
    outcome: str
    """`handled`, `refused`, `trapped`, `over a limit` or `unpublishable`."""
    reason: str
    """Of a failure."""
    published: Sequence[Published]
    logs: Sequence[LogLine]
    logs_dropped: int
    spent: Spent

    @property
    def is_handled(self) -> bool:
        return not self.reason


class Trial:
    def __init__(
        self,
        code: bytes,
        name: str,
        stream: str,
        limits: Limits,
        instance: Literal["fresh", "reuse"],
        policy: Policy,
        max_event_bytes: int,
        cache: Path,
    ) -> None:
        """`cache`: folder for native code. Raises InvalidInput that says what is wrong with the code."""
        engine = shared_engine()
        cache.parent.mkdir(parents=True, exist_ok=True)
        self._host = Host(engine, load_guest(engine, ModuleCache(engine, cache), code), limits, instance)
        self._name = name
        self._stream = stream
        self._policy = policy
        self._max_event_bytes = max_event_bytes

    def hand(self, event: Event) -> Tried:
        """Tried once: what the function would try again is a failure here."""
        call = self._host.handle(message_of(event, self._stream))
        outcome, reason = _WORDS[type(call.outcome)], "" if isinstance(call.outcome, Handled) else str(call.outcome)
        published: list[Published] = []
        try:
            publishing = Publishing(self._policy, event.tenantid, self._name, self._max_event_bytes)
            made = publishing.events(event, call.published)
            published = [Published(sent.subject, it) for sent, it in zip(call.published, made, strict=True)]
        except (LoopDetected, Unpublishable) as error:
            outcome, reason = _UNPUBLISHABLE, error.detail
        return Tried(event, outcome, reason, published, call.logs, call.logs_dropped, call.spent)
