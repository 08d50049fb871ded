"""Messages of tenants that were stopped: there is no room for more of their dead letters.

They lie in their stream, neither acked nor held, and come again at once when there is room, or after a while if the
adapter that knows of them is gone. All of a stopped tenant's messages wait, good ones too: which are good only a trial
would tell, that ends for the others where it did before. Other tenants' go on. Who is stopped all adapters know.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from eventrunner.source.intake import Held
from eventrunner.source.letter_room import LetterRoom
from eventrunner.source.message import Message
from eventrunner.source.metrics import SourceMetrics
from eventrunner.source.spec import SourceSpec
from eventrunner.source.stops import SourceStops

__all__ = ["Parking"]

_log = logging.getLogger(__name__)

_DELAY = 30.0
"""Seconds after which a parked message comes by itself: the longest that it waits, with room, after a kill of the
adapter that knows of it. Who takes over a source in which order matters waits for it too."""
_OVERDUE = 5.0
_INTERVAL = 1.0


@dataclass(frozen=True, slots=True)
class _Parked:
    ack_subject: str
    """Where to say that it may come again."""
    sequence: int
    """Of the stream."""
    comes_at: float


@dataclass(slots=True)
class _Stopped:
    size: int
    """Of the letters that were refused last."""
    parked: dict[str, _Parked] = field(default_factory=dict)
    """By the message's key."""


class Parking:
    """Of one source. `clear` gives back what of a tenant waits to be sent, which is parked too; `on_release` is called
    before parked messages come again, among later ones."""

    def __init__(
        self,
        spec: SourceSpec,
        room: LetterRoom,
        held: Held,
        metrics: SourceMetrics,
        stops: SourceStops,
        clear: Callable[[str], Iterable[Message]],
        on_release: Callable[[], None] = lambda: None,
    ) -> None:
        self._spec = spec
        self._room = room
        self._held = held
        self._metrics = metrics
        self._clear = clear
        self._on_release = on_release
        self._stops = stops
        self._stopped: dict[str, _Stopped] = {}

    def is_stopped(self, tenant: str) -> bool:
        return tenant in self._stopped

    def in_vain(self, tenant: str) -> int:
        """Deliveries that say nothing about a message of the tenant, because it waited."""
        return self._stops.deliveries(tenant)

    async def load(self) -> None:
        """Takes over who is stopped, before any message comes."""
        await self._stops.load()
        await self._follow_others()

    async def stop(self, tenant: str, size: int, messages: Sequence[Message]) -> None:
        """For letters of that size, which were made of these messages."""
        is_new = tenant not in self._stopped
        if is_new:
            _log.error(
                "%s: no room for more dead letters of %s: its messages wait in their stream until some of the letters "
                "are replayed or dropped (eventrunner dead-letters list %s); other tenants go on",
                self._spec.name,
                tenant,
                tenant,
            )
            self._begin(tenant, size)
        self._stopped[tenant].size = size
        waiting = [*messages, *self._clear(tenant)]
        if is_new:
            await self._stops.stop(tenant, size, max((message.deliveries for message in waiting), default=1))
        for message in waiting:
            await self.park(message)

    async def park(self, message: Message) -> None:
        """A held message of a tenant that is stopped, or was so just now."""
        await self._stops.allow(message.tenant, message.deliveries)
        stopped = self._stopped.get(message.tenant)
        if stopped is None:
            await self._held.postpone(message, 0.0)
        elif await self._held.postpone(message, _DELAY):
            if self._stopped.get(message.tenant) is not stopped:
                # Released meanwhile.
                await self._held.recall([message.ack_subject])
                return
            comes_at = asyncio.get_running_loop().time() + _DELAY
            stopped.parked[message.key] = _Parked(message.ack_subject, int(message.sequence), comes_at)
            self._metrics.waiting(message.tenant, len(stopped.parked))

    def sequences(self) -> list[int]:
        """Stream sequences of the parked messages."""
        return [parked.sequence for stopped in self._stopped.values() for parked in stopped.parked.values()]

    async def run(self) -> None:
        """Lets go on who has room again. Runs until it is cancelled."""
        while True:
            await self._follow_others()
            for tenant, stopped in list(self._stopped.items()):
                self._drop_overdue(tenant, stopped)
                if await self._room.has_room(tenant, stopped.size) and self._stopped.get(tenant) is stopped:
                    _log.warning(
                        "%s: there is room for dead letters of %s again; its messages go on", self._spec.name, tenant
                    )
                    await self._stops.release(tenant)
                    await self._release(tenant)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL):
                    await self._stops.arrived.wait()

    async def give_back_all(self) -> None:
        """To another adapter, for which the tenants are stopped too."""
        for tenant in list(self._stopped):
            await self._release(tenant)

    async def _follow_others(self) -> None:
        for tenant, stop in self._stops.news().items():
            is_stopped = tenant in self._stopped
            if stop is not None and stop.size and not is_stopped:
                _log.warning(
                    "%s: another adapter has stopped %s: no room for its dead letters", self._spec.name, tenant
                )
                self._begin(tenant, stop.size)
                for message in self._clear(tenant):
                    await self.park(message)
            elif is_stopped and stop is not None and not stop.size:
                _log.warning("%s: another adapter lets %s go on", self._spec.name, tenant)
                await self._release(tenant)

    def _drop_overdue(self, tenant: str, stopped: _Stopped) -> None:
        """What came again to another adapter is that one's now."""
        since = asyncio.get_running_loop().time() - _OVERDUE
        overdue = [key for key, parked in stopped.parked.items() if parked.comes_at < since]
        for key in overdue:
            del stopped.parked[key]
        if overdue:
            self._metrics.waiting(tenant, len(stopped.parked))

    def _begin(self, tenant: str, size: int) -> None:
        self._stopped[tenant] = _Stopped(size)
        self._metrics.waiting(tenant, 0)

    async def _release(self, tenant: str) -> None:
        stopped = self._stopped.pop(tenant)
        self._metrics.waiting(tenant, None)
        if stopped.parked:
            self._on_release()
            await self._held.recall([parked.ack_subject for parked in stopped.parked.values()])
