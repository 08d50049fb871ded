"""What every sink does with an event, whatever it speaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from support_nats import NatsServer, eventually
from support_source import Lab, event, open_lab

__all__ = ["Peer", "SinkSuite", "Verdict"]

REASON = "it says why"


class Verdict(Enum):
    TAKE = auto()
    FAIL = auto()
    """With REASON, as one that may take it another time."""
    REFUSE = auto()
    """With REASON, for good."""
    NOTHING = auto()
    """Never answers."""


@dataclass
class Peer:
    url: str
    listen: Callable[[], Awaitable[None]]
    """Until then nobody is there."""
    ids: list[str]
    """Of the events that have come, in their order."""


def source(peer: Peer) -> dict[str, Any]:
    delivery = {"retry": 2, "backoffDelay": "PT0.02S", "timeout": "PT0.5S"}
    return {"sink": peer.url, "format": "structured", "delivery": delivery, "inFlight": 4}


class SinkSuite:
    def peer(
        self, server: NatsServer, tmp_path: Path, answer: Callable[[str], Verdict]
    ) -> contextlib.AbstractAsyncContextManager[Peer]:
        """`answer` is asked with the event's id."""
        raise NotImplementedError

    async def test_what_is_taken_is_settled(self, server: NatsServer, tmp_path: Path) -> None:
        async with open_lab(server) as lab, self.peer(server, tmp_path, lambda _: Verdict.TAKE) as peer:
            await peer.listen()
            await lab.publish([event(number) for number in range(3)])
            async with lab.adapter(**source(peer)):
                await lab.finished()
            assert sorted(peer.ids) == ["0", "1", "2"]
            assert await lab.stored("DEADLETTER") == []

    async def test_what_fails_is_tried_again_and_then_a_dead_letter_that_says_why(
        self, server: NatsServer, tmp_path: Path
    ) -> None:
        letter, ids = await self._poison(server, tmp_path, Verdict.FAIL)
        assert (letter["knativeerrordata"], letter["knativeerrorattempts"], ids.count("bad")) == (REASON, 3, 3)

    async def test_what_is_refused_is_a_dead_letter_at_once(self, server: NatsServer, tmp_path: Path) -> None:
        letter, ids = await self._poison(server, tmp_path, Verdict.REFUSE)
        assert (letter["knativeerrordata"], letter["knativeerrorattempts"], ids.count("bad")) == (REASON, 1, 1)

    async def test_what_is_never_answered_is_tried_again_and_then_a_dead_letter(
        self, server: NatsServer, tmp_path: Path
    ) -> None:
        letter, ids = await self._poison(server, tmp_path, Verdict.NOTHING)
        assert letter["knativeerrordata"].endswith("within 0.5 s")
        assert (letter["knativeerrorattempts"], ids.count("bad")) == (3, 3)

    async def test_events_wait_for_one_who_is_not_there(self, server: NatsServer, tmp_path: Path) -> None:
        async with (
            open_lab(server) as lab,
            self.peer(server, tmp_path, lambda _: Verdict.TAKE) as peer,
            lab.adapter(**source(peer)) as adapter,
        ):
            await lab.publish([event(number) for number in range(20)])
            await eventually(lambda: any(sink.health.down for sink in adapter._sinks.values()))
            await peer.listen()
            await lab.finished()
            assert sorted(peer.ids, key=int) == [str(number) for number in range(20)]
            assert await lab.stored("DEADLETTER") == []

    async def _poison(self, server: NatsServer, tmp_path: Path, verdict: Verdict) -> tuple[dict[str, Any], list[str]]:
        """The one dead letter among events that get through, and who has come."""

        def answer(id: str) -> Verdict:
            return verdict if id == "bad" else Verdict.TAKE

        async with (
            open_lab(server) as lab,
            self.peer(server, tmp_path, answer) as peer,
            lab.adapter(**source(peer)),
        ):
            await peer.listen()
            await lab.publish(event("bad"))
            await _feed(lab)
            (letter,) = await lab.events("DEADLETTER")
            assert letter["id"] == "bad"
            assert letter["knativeerrordest"] == peer.url
            return letter, peer.ids


async def _feed(lab: Lab) -> None:
    """Others, by which it is told whether the event or the sink is to blame, until all is settled."""
    number = 0
    while not await lab.is_done():
        await lab.publish(event(number))
        number += 1
        await asyncio.sleep(0.1)
