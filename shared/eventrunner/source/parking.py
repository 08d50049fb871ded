"""Messages of tenants that were stopped: there is no room for more of their dead letters.

They lie in their stream, neither acked nor held, and come again at once when there is room, or after a while if the
adapter that knows of them is gone. All of a stopped tenant's messages wait, good ones too: which are good only a trial
would tell, that ends for the others where it did before. Other tenants' go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from eventrunner.source.intake import Held
from eventrunner.source.letter_room import LetterRoom
from eventrunner.source.message import Message
from eventrunner.source.metrics import SourceMetrics
from eventrunner.source.spec import Ordering, SourceSpec

__all__ = ["Parking"]

_log = logging.getLogger(__name__)

_DELAY = {Ordering.UNORDERED: 300.0, Ordering.BY_TENANT: 30.0}
"""Seconds after which a parked message comes by itself. Who takes over a source in which order matters waits for it."""
_INTERVAL = 1.0


@dataclass(slots=True)
class _Stopped:
    size: int
    """Of the letters that were refused last."""
    parked: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Key of each parked message → where to say that it may come again, and its stream sequence."""


class Parking:
    """Of one source. `clear` gives back what of a tenant waits to be sent, which is parked too; `on_release` is called
    before parked messages come again, among later ones."""

    def __init__(
        self,
        spec: SourceSpec,
        room: LetterRoom,
        held: Held,
        metrics: SourceMetrics,
        clear: Callable[[str], Iterable[Message]],
        on_release: Callable[[], None] = lambda: None,
    ) -> None:
        self._spec = spec
        self._delay = _DELAY[spec.ordering]
        self._room = room
        self._held = held
        self._metrics = metrics
        self._clear = clear
        self._on_release = on_release
        self._stopped: dict[str, _Stopped] = {}
        self._ever: set[str] = set()

    def is_stopped(self, tenant: str) -> bool:
        return tenant in self._stopped

    def was_stopped(self, tenant: str) -> bool:
        """Then that a message came often says nothing about it."""
        return tenant in self._ever

    async def stop(self, tenant: str, size: int, messages: Iterable[Message]) -> None:
        """For letters of that size, which were made of these messages."""
        if tenant not in self._stopped:
            _log.error(
                "%s: no room for more dead letters of %s: its messages wait in their stream until some of the letters "
                "are replayed or dropped (eventrunner dead-letters list %s); other tenants go on",
                self._spec.name,
                tenant,
                tenant,
            )
            self._stopped[tenant] = _Stopped(size)
            self._ever.add(tenant)
            self._metrics.waiting(tenant, 0)
        self._stopped[tenant].size = size
        for message in (*messages, *self._clear(tenant)):
            await self.park(message)

    async def park(self, message: Message) -> None:
        """A held message of a tenant that is stopped, or was so just now."""
        stopped = self._stopped.get(message.tenant)
        if stopped is None:
            await self._held.postpone(message, 0.0)
        elif await self._held.postpone(message, self._delay):
            if self._stopped.get(message.tenant) is not stopped:
                # Released meanwhile.
                await self._held.recall([message.ack_subject])
                return
            stopped.parked[message.key] = message.ack_subject, int(message.sequence)
            self._metrics.waiting(message.tenant, len(stopped.parked))

    def sequences(self) -> list[int]:
        """Stream sequences of the parked messages."""
        return [sequence for stopped in self._stopped.values() for _, sequence in stopped.parked.values()]

    async def run(self) -> None:
        """Lets go on who has room again. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            for tenant, stopped in list(self._stopped.items()):
                if await self._room.has_room(tenant, stopped.size):
                    _log.warning(
                        "%s: there is room for dead letters of %s again; its messages go on", self._spec.name, tenant
                    )
                    await self._release(tenant)

    async def release_all(self) -> None:
        """For another adapter."""
        for tenant in list(self._stopped):
            await self._release(tenant)

    async def _release(self, tenant: str) -> None:
        self._on_release()
        stopped = self._stopped.pop(tenant)
        self._metrics.waiting(tenant, None)
        await self._held.recall([ack_subject for ack_subject, _ in stopped.parked.values()])
