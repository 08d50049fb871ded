"""Brings parcels to the sink and settles them: reply stored, or dead letter stored, then acked.

A request takes a place in the window of requests in flight only while it runs; while its events wait to be sent again,
or for their reply to be stored, others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

from eventrunner.errors import InvalidInput, MalformedBody
from eventrunner.events.headers import COUNT_HEADER
from eventrunner.events.json_format import split_batch
from eventrunner.source.deadletter import Verdict, dead_letter, letter_of_reply
from eventrunner.source.intake import Held
from eventrunner.source.letter_room import LetterRoom
from eventrunner.source.message import Message, Parcel, Part, singles
from eventrunner.source.metrics import SourceMetrics
from eventrunner.source.outcomes import (
    DeadLetter,
    Decision,
    Delivered,
    Failed,
    Halve,
    Outcome,
    Publish,
    Refused,
    RetryAfter,
)
from eventrunner.source.parking import Parking
from eventrunner.source.pin import Pin
from eventrunner.source.publication import TO_DESTINATION, Publication
from eventrunner.source.publisher import Publisher
from eventrunner.source.routing import Unroutable, route
from eventrunner.source.sink import HttpSink, Sink
from eventrunner.source.spec import SourceSpec
from eventrunner.tenancy import is_letter, tenant_of_subject

__all__ = ["Courier"]

_log = logging.getLogger(__name__)

_CRASH_DELAY = 5.0
_NO_ROOM_DELAY = 1.0
T = TypeVar("T")


class _LeavingError(Exception):
    """The adapter ends; what is not finished is given back."""


@dataclass(slots=True)
class Courier:
    """`on_settled` is called whenever room for further messages may have come up, `on_done` with tenants when nothing
    that was sent of them is unsettled any more.

    In an ordered source, which has a `pin`, a parcel's tenants do not wait for each other, and nothing is given back
    while the pin is ours: what comes again would come behind the tenant's next messages.
    """

    spec: SourceSpec
    sink: Sink
    reply_sink: HttpSink | None
    publisher: Publisher
    room: LetterRoom
    held: Held
    parking: Parking
    metrics: SourceMetrics
    on_settled: Callable[[], None]
    on_done: Callable[[Iterable[str]], None]
    pin: Pin | None = None
    window: asyncio.Semaphore = field(init=False)
    """A place for each request that may be in flight."""
    _leaving: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(init=False, default_factory=set)
    _waiting: int = field(init=False, default=0)
    """Parcels that are sent as soon as the sink can be tried."""

    def __post_init__(self) -> None:
        self.window = asyncio.Semaphore(self.spec.in_flight)

    @property
    def is_probing(self) -> bool:
        """Whether the sink is away and is tried by what was taken before, and should be."""
        health = self.sink.health
        return health.down and not health.wants_fresh and (health.probing or self._waiting > 0)

    def send(self, parcel: Parcel) -> None:
        """Takes the parcel, for which the caller has acquired a place in the window."""
        self._spawn(self._bring(parcel), parcel.parts)

    def bury(self, message: Message) -> None:
        """Takes a message that no sink can be given."""
        parts = [Part.of(message)]
        self._spawn(self._settle_dead(Parcel(parts), HTTPStatus.BAD_REQUEST, message.problem), parts)

    def give_up(self, parts: Sequence[Part], reason: str) -> None:
        """Takes the events of a message that has come too often."""
        self._spawn(self._settle_dead(Parcel(parts), HTTPStatus.BAD_REQUEST, reason), parts)

    def park(self, message: Message) -> None:
        """Takes a message of a tenant that is stopped."""
        self._spawn(self.parking.park(message), [Part.of(message)])

    def ack(self, message: Message) -> None:
        """Takes a message of which nothing is to be sent."""
        self._spawn(self.held.ack(message), [Part.of(message)])

    async def leave(self, grace: float) -> None:
        """Lets requests under way end for so many seconds; gives back what waits."""
        self._leaving.set()
        if self._tasks and grace:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None], parts: Sequence[Part]) -> None:
        task = asyncio.create_task(self._guarded(work, parts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None], parts: Sequence[Part]) -> None:
        """No end of the work goes unseen: what it did not settle is given back."""
        try:
            await work
        except (asyncio.CancelledError, _LeavingError):
            await self.held.give_back(parts)
        except Exception:
            _log.exception("%s: delivery failed; its messages come again", self.spec.name)
            self.metrics.crashes.inc()
            await self.held.give_back(parts, _CRASH_DELAY)
        finally:
            self.on_settled()

    async def _bring(self, parcel: Parcel) -> None:
        settled = True
        try:
            settled = await (self._deliver(parcel) if self.pin is None else self._insist(parcel))
        finally:
            if settled:
                self.on_done(parcel.tenants)

    async def _insist(self, parcel: Parcel) -> bool:
        """Like `_deliver`, and again after an error of our own. What fails as often as a message may be delivered is
        given up."""
        while True:
            try:
                if parcel.crashes < self.spec.delivery.max_deliver:
                    return await self._deliver(parcel)
                self.window.release()
                await self._settle_dead(parcel, 0, f"its delivery broke off {parcel.crashes} times")
                return True
            except (asyncio.CancelledError, _LeavingError):
                raise
            except Exception:
                parcel.crashes += 1
                _log.exception("%s: delivery failed; its tenants wait until it is tried again", self.spec.name)
                self.metrics.crashes.inc()
            await self._or_leave(asyncio.sleep(_CRASH_DELAY))
            await self.window.acquire()

    async def _deliver(self, parcel: Parcel) -> bool:
        """Returns when the parcel's events are settled, or false when they are in the hands of other tasks."""
        while True:
            decision, publications, done = await self._attempt(parcel)
            match decision:
                case Publish() if parcel.count > 1 and await self.room.are_too_many(publications):
                    return await self._deliver_halves(parcel)
                case Publish():
                    refused = await self._store(publications, done)
                    settled = [part for part in done.parts if part.message.tenant not in refused]
                    self.metrics.delivered.inc(sum(part.count for part in settled))
                    await self._settle(settled, parcel, refused)
                    if not self._goes_on(parcel, done, refused):
                        return True
                    with self._counted():
                        await self.window.acquire()
                case Halve():
                    return await self._deliver_halves(parcel)
                case DeadLetter():
                    await self._settle_dead(parcel, decision.status, decision.reason)
                    return True
                case RetryAfter():
                    if decision.seconds:
                        await self._or_leave(asyncio.sleep(decision.seconds))
                    with self._counted():
                        await self.window.acquire()
                    self.metrics.retries.inc()

    def _goes_on(self, parcel: Parcel, done: Parcel, refused: Mapping[str, int]) -> bool:
        """Leaves to the parcel what the sink did not come to; false when that is nothing, or of tenants that are
        stopped."""
        rest = [part for part in parcel.parts[len(done.parts) :] if part.message.tenant not in refused]
        if not rest:
            return False
        parcel.go_on_with(rest)
        self.on_done(done.tenants - parcel.tenants)
        return True

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def _attempt(self, parcel: Parcel) -> tuple[Decision, Sequence[Publication], Parcel]:
        """One request, and what of the parcel the answer is about; gives its place in the window back when that is
        there."""
        health = self.sink.health
        probe = False
        try:
            if health.down:
                with self._counted():
                    probe = await self._or_leave(health.turn(fresh=not parcel.attempts + parcel.inherited))
            if self.pin is not None and not self.pin.is_good():
                await self._or_leave(self.pin.good())
            loop = asyncio.get_running_loop()
            started = loop.time()
            parcel.begin_attempt(started)
            with self.metrics.in_flight.track_inprogress():
                outcome = await self.sink.deliver(parcel, self.spec)
            ended = loop.time()
            self.metrics.request(HTTPStatus.OK if isinstance(outcome, Delivered) else outcome.status, ended - started)
            outcome, publications, done = self._read(outcome, parcel)
            decision = health.decide(parcel, outcome, self.spec.delivery, ended)
            probe = False
            if self._is_one_of_several(parcel, outcome, decision):
                decision = Halve()
            return decision, publications, done
        finally:
            if probe:
                health.give_back()
            self.window.release()

    def _read(self, outcome: Outcome, parcel: Parcel) -> tuple[Outcome, Sequence[Publication], Parcel]:
        """What to publish; a reply that makes no sense turns success into failure."""
        if not isinstance(outcome, Delivered):
            _log.info("%s: %d events: %s", self.spec.name, parcel.count, outcome)
            return outcome, (), parcel
        try:
            done = parcel if outcome.handled is None else parcel.first(outcome.handled)
            if not done.parts and parcel.parts:
                raise MalformedBody("It is about none of the events.")
            if outcome.reply is None:
                return outcome, (), done
            return outcome, route(outcome.reply, done, self.spec, self.publisher.max_payload), done
        except InvalidInput as error:
            return Failed(f"unreadable reply: {error}"), (), parcel
        except Unroutable as error:
            return Refused(HTTPStatus.BAD_GATEWAY, str(error)), (), parcel

    def _is_one_of_several(self, parcel: Parcel, outcome: Outcome, decision: Decision) -> bool:
        """Whether one tenant of an ordered source is to blame, so that the others shall not wait with it."""
        if self.pin is None or not isinstance(outcome, Failed) or outcome.retry_after is not None:
            return False
        return isinstance(decision, RetryAfter) and decision.seconds > 0 and len(parcel.tenants) > 1

    async def _deliver_halves(self, parcel: Parcel) -> bool:
        try:
            halves = parcel.halves(whole_tenants=self.pin is not None)
        except InvalidInput as error:
            await self._settle_dead(parcel, HTTPStatus.BAD_REQUEST, str(error))
            return True
        if self.pin is not None and len(parcel.tenants) == 1:
            for half in halves:
                await self.window.acquire()
                await self._insist(half)
            return True
        for half in halves:
            self._spawn(self._bring_half(half), half.parts)
        return False

    async def _bring_half(self, parcel: Parcel) -> None:
        await self.window.acquire()
        await self._bring(parcel)

    async def _store(self, publications: Sequence[Publication], parcel: Parcel) -> Mapping[str, int]:
        """All but the dead letters of the tenants that it returns, which have no room for them."""
        letters = [publication for publication in publications if is_letter(publication.subject)]
        refused = await self._refused(letters, parcel) if letters else {}
        messages = []
        for publication in publications:
            if is_letter(publication.subject) and tenant_of_subject(publication.subject) in refused:
                continue
            if publication.failure:
                self.metrics.failed.inc()
            if publication.subject == TO_DESTINATION:
                await self._post(publication, parcel)
            else:
                messages.append(publication)
        await self.publisher.store(messages)
        return refused

    async def _refused(self, letters: Sequence[Publication], parcel: Parcel) -> Mapping[str, int]:
        """Tenants whose letters find no room. A message of which some events have a letter already goes on to its end,
        so that none of them gets a second one; and a letter of none of the messages has nothing to wait in."""

        def goes_on(tenant: str) -> bool:
            parts = [part for part in parcel.parts if part.message.tenant == tenant]
            return not parts or any(part.message.buried for part in parts)

        return await self.room.refused(letters, goes_on)

    async def _settle(self, settled: Sequence[Part], parcel: Parcel, refused: Mapping[str, int]) -> None:
        """Acks what is settled, and stops the tenants whose letters were refused."""
        await self.held.settle(settled)
        for tenant, size in refused.items():
            messages = [part.message for part in parcel.parts if part.message.tenant == tenant]
            await self.parking.stop(tenant, size, messages)

    async def _post(self, publication: Publication, parcel: Parcel) -> None:
        """Posts results to the reply's destination until that takes them; what it refuses for good is a dead letter."""
        sink = self.reply_sink
        assert sink is not None
        headers = {"Content-Type": publication.content_type, COUNT_HEADER: str(publication.count)}
        loop = asyncio.get_running_loop()
        trial = Parcel(parcel.parts)
        while True:
            probe = await self._or_leave(sink.health.turn())
            try:
                trial.begin_attempt(loop.time())
                outcome = await sink.post(headers, publication.body, self.spec.delivery.timeout)
                decision = sink.health.decide(trial, outcome, self.spec.delivery, loop.time())
                probe = False
            finally:
                if probe:
                    sink.health.give_back()
            if isinstance(decision, Publish):
                return
            if isinstance(outcome, Refused) or isinstance(decision, DeadLetter):
                break
            await self._or_leave(asyncio.sleep(decision.seconds if isinstance(decision, RetryAfter) else 0))
        assert not isinstance(outcome, Delivered)
        verdict = Verdict(outcome.status, f"reply refused: {outcome.reason}", trial.attempts, sink.url)
        await self._bury_results(publication, parcel.parts[0].message.tenant, verdict)

    async def _bury_results(self, publication: Publication, tenant: str, verdict: Verdict) -> None:
        limit = self.publisher.max_payload
        letters = [
            letter_of_reply(bytes(raw), tenant, verdict, self.spec, limit, publication.message_id)
            for raw in split_batch(publication.body)
        ]
        while await self.room.refused(letters):
            await self._or_leave(asyncio.sleep(_NO_ROOM_DELAY))
        self.metrics.dead_letters.inc(len(letters))
        await self.publisher.store(letters)

    async def _settle_dead(self, parcel: Parcel, status: int, reason: str) -> None:
        """A letter for each event; what cannot be read as events has one for all of it."""
        attempts = parcel.inherited + parcel.attempts
        verdict = Verdict(status, reason, attempts, self.sink.url)
        # Into the parcel, because each part counts once among those of its message, however often this is tried.
        parts = parcel.parts = [single for part in parcel.parts for single in singles(part)]
        letters = [dead_letter(part, verdict, self.spec, self.publisher.max_payload) for part in parts]
        refused = await self._refused(letters, parcel)
        settled = [part for part in parts if part.message.tenant not in refused]
        for part in settled:
            part.message.buried = True
        stored = [letter for part, letter in zip(parts, letters, strict=True) if part.message.tenant not in refused]
        if stored:
            _log.warning("%s: dead letter after %d attempts: %d %s", self.spec.name, attempts, status, reason)
        self.metrics.dead_letters.inc(len(stored))
        await self.publisher.store(stored)
        await self._settle(settled, parcel, refused)

    async def _or_leave(self, wait: Coroutine[Any, Any, T]) -> T:
        """Waits, but not beyond the adapter's end: raises _LeavingError then."""
        waiting = asyncio.ensure_future(wait)
        leaving = asyncio.ensure_future(self._leaving.wait())
        try:
            await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise _LeavingError
            return waiting.result()
        finally:
            waiting.cancel()
            leaving.cancel()
