"""The replicas of one Knative Service: who takes a request, who waits, when one more is started or one stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Final

import aiohttp

from eventrunner.errors import Unavailable
from eventrunner.local.autoscale import Autoscaler
from eventrunner.local.functions import Launcher
from eventrunner.local.process import Child
from eventrunner.local.services import Service
from eventrunner.local.supervisor import Backoff
from eventrunner.local.tasks import start_task
from eventrunner.local.upstream import new_session

__all__ = ["Limits", "Replica", "Revision"]

_log = logging.getLogger(__name__)
_DECISION_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    replicas: int = 4
    """Of one service, whatever its manifest allows: more processes than cores only cost memory."""
    waiting: int = 1000
    """Requests held while no replica has room; more are refused."""
    start_seconds: float = 20.0
    """How long a replica may take to be ready, and how long a request waits for room."""
    stop_seconds: float = 10.0


@dataclass(slots=True, eq=False)
class Replica:
    child: Child
    port: int
    session: aiohttp.ClientSession
    """Its connections. A server that is asked to stop waits for those that are kept open."""
    started: float
    in_flight: int = 0
    draining: bool = False


class Revision:
    def __init__(self, service: Service, launch: Launcher, limits: Limits) -> None:
        self.service = service
        self._launch = launch
        self._limits = limits
        self._time = asyncio.get_running_loop().time
        self._scaler = Autoscaler(service.scaling, self._time())
        self._room = service.concurrency or 1_000_000
        self._ready: list[Replica] = []
        self._waiting: deque[asyncio.Future[Replica]] = deque()
        self._starting: set[asyncio.Task[None]] = set()
        self._minding: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._backoff = Backoff()
        self._delay = 0.0
        self._closed = False
        self.failure = ""
        """Why the last replica that was to start did not; empty when it did."""

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """Those that take requests."""
        return tuple(self._ready)

    async def acquire(self) -> Replica:
        """The replica with the fewest requests and room for one more. Raises Unavailable.

        Whoever gets one calls `release` when the answer is there.
        """
        if self._closed or len(self._waiting) >= self._limits.waiting:
            raise Unavailable(f"{self.service.name} has more requests than it can hold; try again.")
        self._scaler.change(self._time(), 1)
        replica = self._least_loaded()
        if replica is not None:
            replica.in_flight += 1
            return replica
        try:
            return await self._wait_for_room()
        except BaseException:
            self._scaler.change(self._time(), -1)
            raise

    def release(self, replica: Replica) -> None:
        self._scaler.change(self._time(), -1)
        self._vacate(replica)

    def discard(self, replica: Replica) -> None:
        """The replica refuses connections: it gets no more requests and is stopped."""
        self._retire(replica)

    def wake(self) -> None:
        """Starts deciding, and with it what `min-scale` asks for."""
        if self._ticker is None and not self._closed:
            self._ticker = start_task(self._tick())

    def rest(self) -> None:
        """Ends the replicas that have nothing to do, as it would after a while anyway."""
        for replica in [item for item in self._ready if not item.in_flight]:
            self._retire(replica)

    async def replace(self) -> int:
        """Starts a new replica beside each that is there, and when all of them are ready lets the old ones end. Returns
        how many. Raises Unavailable when one does not become ready: then the old ones stay."""
        if self._starting:
            # They may have read the old code.
            await asyncio.wait(self._starting, timeout=self._limits.start_seconds)
        old = list(self._ready)
        launches = (self._launch(self.service, self._limits.start_seconds) for _ in old)
        launched = await asyncio.gather(*launches, return_exceptions=True)
        if failed := [error for error in launched if isinstance(error, BaseException)]:
            for new in launched:
                if not isinstance(new, BaseException):
                    await new[0].stop(self._limits.stop_seconds)
            raise failed[0]
        for new in launched:
            assert not isinstance(new, BaseException)
            self._add(*new)
        for replica in old:
            self._retire(replica)
        return len(old)

    async def close(self) -> None:
        """Lets requests end, then stops every replica."""
        self._closed = True
        for task in (self._ticker, *self._starting):
            if task is not None:
                task.cancel()
        self._refuse_waiting(f"{self.service.name} is being stopped.")
        for replica in list(self._ready):
            self._retire(replica)
        if pending := [task for task in (self._ticker, *self._starting, *self._minding) if task is not None]:
            await asyncio.wait(pending)

    def _least_loaded(self) -> Replica | None:
        best, load = None, self._room
        for replica in self._ready:
            if replica.in_flight < load:
                best, load = replica, replica.in_flight
        return best

    async def _wait_for_room(self) -> Replica:
        future: asyncio.Future[Replica] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if not self._ready and not self._starting:
            self._start_one()
        self.wake()
        try:
            async with asyncio.timeout(self._limits.start_seconds):
                return await future
        except TimeoutError:
            self._leave(future)
            raise Unavailable(f"{self.service.name} has no room for the request; try again.") from None
        except BaseException:
            self._leave(future)
            raise

    def _leave(self, future: asyncio.Future[Replica]) -> None:
        with contextlib.suppress(ValueError):
            self._waiting.remove(future)
        # It may have been given its place in the moment in which it gave up.
        if future.done() and not future.cancelled() and future.exception() is None:
            self._vacate(future.result())

    def _vacate(self, replica: Replica) -> None:
        replica.in_flight -= 1
        if not replica.draining:
            self._serve_waiting()

    def _serve_waiting(self) -> None:
        while self._waiting and (replica := self._least_loaded()) is not None:
            future = self._waiting.popleft()
            if not future.done():
                replica.in_flight += 1
                future.set_result(replica)

    def _refuse_waiting(self, reason: str) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(Unavailable(reason))

    def _start_one(self) -> None:
        task = start_task(self._start())
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start(self) -> None:
        await asyncio.sleep(self._delay)
        started = self._time()
        try:
            child, port = await self._launch(self.service, self._limits.start_seconds)
        except Exception as error:
            self._delay, self.failure = self._backoff.after(0), str(error)
            _log.error(
                "%s could not be started, next try in %g s at the earliest: %s", self.service.name, self._delay, error
            )
            if not self._ready:
                self._refuse_waiting(f"{self.service.name} could not be started.")
            return
        self._delay, self.failure = 0.0, ""
        self._add(child, port)
        _log.info(
            "%s: a replica is ready after %.2f s, %d in all",
            self.service.name,
            self._time() - started,
            len(self._ready),
        )

    def _add(self, child: Child, port: int) -> None:
        replica = Replica(child, port, new_session(), self._time())
        self._ready.append(replica)
        self._mind(self._watch(replica))
        self.wake()
        self._serve_waiting()

    async def _watch(self, replica: Replica) -> None:
        code = await replica.child.wait()
        if not replica.draining:
            _log.error("%s: a replica ended with %d: %s", self.service.name, code, replica.child.last_words())
            self._delay = self._backoff.after(self._time() - replica.started)
            replica.draining = True
            self._ready.remove(replica)
            if self._waiting and not self._ready and not self._starting and not self._closed:
                self._start_one()
        await self._until_quiet(replica)
        await replica.session.close()

    def _retire(self, replica: Replica) -> None:
        if not replica.draining:
            replica.draining = True
            self._ready.remove(replica)
            self._mind(self._stop(replica))

    async def _stop(self, replica: Replica) -> None:
        await self._until_quiet(replica)
        await replica.session.close()
        await replica.child.stop(self._limits.stop_seconds)

    async def _until_quiet(self, replica: Replica) -> None:
        deadline = self._time() + min(self.service.timeout, self._limits.stop_seconds)
        while replica.in_flight and self._time() < deadline:
            await asyncio.sleep(0.05)

    def _mind(self, work: Coroutine[object, object, None]) -> None:
        task = start_task(work)
        self._minding.add(task)
        task.add_done_callback(self._minding.discard)

    async def _tick(self) -> None:
        """Runs only while there is something to decide, so that a service at zero costs nothing."""
        while True:
            wanted = self._scaler.desired(self._time(), len(self._ready))
            self._scale(min(wanted, max(self._limits.replicas, self.service.scaling.min_scale)))
            if not (wanted or self._ready or self._starting or self._waiting):
                self._ticker = None
                return
            await asyncio.sleep(_DECISION_SECONDS)

    def _scale(self, wanted: int) -> None:
        for _ in range(wanted - len(self._ready) - len(self._starting)):
            self._start_one()
        for replica in sorted(self._ready, key=lambda item: item.in_flight)[: len(self._ready) - wanted]:
            _log.info("%s: a replica is not needed any more", self.service.name)
            self._retire(replica)
