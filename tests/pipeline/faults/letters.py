"""Dead letters of a tenant, by what they are about. No I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from tests.pipeline.faults.places import Found

__all__ = ["Letter", "Letters"]

_CONFLICT = 409


class Letter(msgspec.Struct):
    """As the API shows it."""

    event: Found
    code: int = 0
    reason: str = ""
    stage: str = ""


class _Marked(msgspec.Struct):
    mark: str


@dataclass(slots=True)
class Letters:
    failing: dict[str, Counter[bytes]] = field(default_factory=dict)
    """Name of the event → letters by content; likewise the conflicts."""
    conflicts: dict[str, Counter[bytes]] = field(default_factory=dict)
    unfit: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Mark → id → content: each delivery has an id of its own."""
    others: list[str] = field(default_factory=list)
    """Those that there should not be."""

    def add(self, letter: Letter) -> None:
        event = letter.event
        if event.type == "loop":
            self.failing.setdefault(event.name, Counter())[event.content] += 1
        elif event.type == "eventrunner.raw":
            mark = msgspec.json.decode(event.data, type=_Marked).mark
            self.unfit.setdefault(mark, {})[event.id] = event.content
        elif letter.code == _CONFLICT:
            self.conflicts.setdefault(event.name, Counter())[event.content] += 1
        else:
            self.others.append(f"{event.type} {event.name} at {letter.stage}: {letter.code} {letter.reason[:200]}")
