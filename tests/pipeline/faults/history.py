"""Replays of a tenant's first batches through rules, one after the other at a small rate, while faults come.

Each is through a rule set of its own, so that each has events to derive, and none of them is on any bill.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from eventrunner.errors import EventRunnerError

from tests.pipeline.faults.ledger import Ledger
from tests.pipeline.faults.probe import Stuck
from tests.pipeline.faults.target import Target
from tests.pipeline.faults.traffic import BEGINNING, HISTORY, SMALL

__all__ = ["History"]

_RATE: Final = 100
"""Events a second: a replay takes some twenty seconds."""
_POLL: Final = 0.5
_PATIENCE: Final = 180.0
_FINAL: Final = ("done", "failed", "cancelled")
_RULE: Final = """
rule Seen%(number)d { when Event.type == "order" && Event.data.amount < %(small)d then
  Out.order = Event.data.order; Out.text = Event.data.text; Emit("%(type)s"); Retract("Seen%(number)d"); }
"""


@dataclass(slots=True)
class History:
    target: Target
    ledger: Ledger
    tenant: str
    """Its first batches are stored."""
    problems: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Replays while the body runs; returns when the last replay is over."""
        stopping = asyncio.Event()
        replaying = asyncio.create_task(self._replay_on(stopping))
        try:
            yield
        finally:
            stopping.set()
            await replaying

    async def _replay_on(self, stopping: asyncio.Event) -> None:
        number = 0
        while not (stopping.is_set() or self.problems):
            number += 1
            try:
                await self._replay(number)
            except (EventRunnerError, Stuck) as error:
                self.problems.append(f"replay {number} of {self.tenant}: {error}")

    async def _replay(self, number: int) -> None:
        type, rules = f"order.seen.{number}", f"history-{number}"
        text = _RULE % {"number": number, "small": SMALL, "type": type}
        await self.target.insist("PUT", f"/api/v1/rules/{self.tenant}/{rules}", text=text)
        # From now on something may have been derived, whatever becomes of the replay.
        self.ledger.note_replay(self.tenant, type)
        replay = await self.target.insist("POST", f"/api/v1/replays/{self.tenant}", _order(rules))
        replay = await self._end_of(replay)
        evaluated = self.ledger.history(self.tenant)
        if (replay["state"], replay["counts"]["evaluated"]) != ("done", evaluated):
            self.problems.append(f"replay {number} of {self.tenant}: {evaluated} events to evaluate, it is {replay}")

    async def _end_of(self, replay: dict[str, Any]) -> dict[str, Any]:
        path = f"/api/v1/replays/{self.tenant}/{replay['id']}"
        try:
            async with asyncio.timeout(_PATIENCE):
                while replay["state"] not in _FINAL:
                    await asyncio.sleep(_POLL)
                    replay = await self.target.insist("GET", path)
        except TimeoutError:
            raise Stuck(f"it was not done within {_PATIENCE:g} s: {replay}") from None
        return replay


def _order(rules: str) -> dict[str, Any]:
    until = BEGINNING + timedelta(seconds=HISTORY)
    span = {"from": BEGINNING.isoformat(), "to": until.isoformat()}
    return {**span, "type": "order", "target": {"rules": rules}, "rate": _RATE}
