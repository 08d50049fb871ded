"""Keeps each tenant's order over take-overs, restarts and lost connections.

What an adapter had and did not ack comes again only after its ack wait, and meanwhile the server goes on with later
messages. But the consumer numbers its deliveries: a gap tells that some of them went to another adapter or were lost
on their way. From then on nothing is sent, until all that the server takes for delivered and unacked is here. The
buffer has put it in order by then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from eventrunner.errors import EventRunnerError
from eventrunner.source.intake import Demand, Held
from eventrunner.source.message import Message, delivery_number
from eventrunner.source.spec import SourceSpec
from eventrunner.storage.jetstream import JetStreamApi

__all__ = ["Fence"]

_log = logging.getLogger(__name__)

_INTERVAL = 0.1
"""Seconds between two looks at what is missing."""


class Fence:
    """Of an ordered source. Open at first: a consumer whose first delivery comes here has no past.

    `parked` are the stream sequences of messages that wait on purpose. Calls `on_move` when it has opened, or more may
    be asked for.
    """

    def __init__(
        self,
        api: JetStreamApi,
        spec: SourceSpec,
        held: Held,
        parked: Callable[[], Iterable[int]],
        on_move: Callable[[], None],
    ) -> None:
        self._api = api
        self._spec = spec
        self._held = held
        self._parked = parked
        self._on_move = on_move
        self._next = 1
        self._closed = asyncio.Event()
        self._missing = 0
        self._credit = 0
        self._redelivering = False

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        """Until all that was delivered is here, whose order would be lost else."""
        self._closed.set()

    def received(self, message: Message) -> None:
        """To be told of each message that comes, in the order in which they come."""
        number = delivery_number(message.ack_subject)
        if number != self._next:
            self._closed.set()
        self._next = number + 1
        self._redelivering = message.deliveries > 1

    def demand(self, waiting: int) -> Demand | None:
        """What to ask for while closed. The server delivers again before it delivers anew: as long as messages come
        again, all that are missing are asked for, else one at a time, so that few new ones pile up behind the fence."""
        wanted, self._credit = self._credit - waiting, 0
        return Demand(wanted, 0) if wanted > 0 else None

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await self._closed.wait()
            try:
                await self._look()
            except EventRunnerError as error:
                _log.debug("%s: cannot tell what is missing: %s", self._spec.name, error)
            self._on_move()
            if self.closed:
                await asyncio.sleep(_INTERVAL)

    async def _look(self) -> None:
        sequences, settled = {*self._held.delivered(), *self._parked()}, self._held.settled
        info = await self._api.request(f"CONSUMER.INFO.{self._spec.stream}.{self._spec.consumer}")
        floor = info["ack_floor"]["stream_seq"]
        missing = info["num_ack_pending"] - sum(sequence > floor for sequence in sequences)
        if missing > 0:
            if not self._missing:
                _log.info("%s: waits for %d messages that were delivered before", self._spec.name, missing)
            self._credit = missing if self._redelivering else 1
        elif settled == self._held.settled:
            # With an ack on its way the two counts are of different times.
            self._closed.clear()
        self._missing = max(0, missing)
