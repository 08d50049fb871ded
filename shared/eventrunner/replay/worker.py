"""Does a slice of a replay: some pages of the event store, no longer than some seconds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import msgspec

from eventrunner.errors import EventRunnerError, FieldError, Unavailable
from eventrunner.events.event import micros
from eventrunner.replay.ledger import LEASE_SECONDS, Held, Lost, ReplayLedger
from eventrunner.replay.record import Replay, State
from eventrunner.replay.targets import Taker, Takers
from eventrunner.source.filters import All, parse_filters
from eventrunner.storage.event_store import EventStore, Page

__all__ = ["ReplayWorker", "check_filters", "event_time"]

_log = logging.getLogger(__name__)

_PAGE = 500
_PAGES_A_SECOND = 4
"""A slow replay reads smaller pages, so that its rate is even."""
_SLICE_SECONDS = 10.0
_POLL_SECONDS = 0.5
_attributes = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Times(msgspec.Struct):
    time: str | None = None
    receivedtime: str | None = None


_times = msgspec.json.Decoder(_Times)


class ReplayWorker:
    """Safe to share between threads."""

    def __init__(
        self,
        ledger: ReplayLedger,
        store: EventStore,
        takers: Takers,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._takers = takers
        self._monotonic = monotonic
        self._sleep = sleep

    def work(self, tenant: str, replay_id: str) -> bool:
        """Whether there is more to do. Raises Unavailable, when trying again later is right, and NotFound."""
        try:
            return self._work(self._hold(tenant, replay_id))
        except Lost as lost:
            _log.info("%s", lost)
            # Ended or cancelled; or somebody else has it, and then the next task finds out how far.
            return not self._ledger.get(tenant, replay_id).state.is_final

    def _hold(self, tenant: str, replay_id: str) -> Held:
        """Waits for a worker who may be dead, or may be about to finish a slice of which we are the retry."""
        until = self._monotonic() + LEASE_SECONDS + _SLICE_SECONDS
        while True:
            held = self._ledger.hold(tenant, replay_id)
            if held is not None:
                return held
            if self._monotonic() > until:
                raise Unavailable(f"Somebody else works on replay {replay_id}.", LEASE_SECONDS)
            self._sleep(_POLL_SECONDS)

    def _work(self, held: Held) -> bool:
        try:
            taker, filters = self._takers.of(held.replay), check_filters(held.replay.filters)[0]
            until = self._monotonic() + _SLICE_SECONDS
            while not held.replay.state.is_final and self._monotonic() < until:
                self._page(held, taker, filters)
        except Lost:
            raise
        except EventRunnerError as error:
            if error.retryable:
                held.release()
                raise
            _log.warning("replay %s of %s fails: %s", held.replay.id, held.replay.tenant, error)
            held.replay.state, held.replay.error = State.FAILED, error.detail
            held.save()
        if not held.replay.state.is_final:
            held.release()
        return not held.replay.state.is_final

    def _page(self, held: Held, taker: Taker, filters: All | None) -> None:
        """Reads, acts, and only then writes how far it is: what is counted of a page that fails is forgotten."""
        replay, started = Replay.from_json(held.replay.to_json()), self._monotonic()
        page = self._read(replay)
        chosen = [body for body in page.bodies if filters is None or _passes(filters, body)]
        counts = replay.counts
        counts.read += len(page.bodies)
        counts.matched += len(chosen)
        if chosen:
            taker(chosen, replay)
        replay.cursor = page.next_cursor
        if page.bodies:
            replay.position = event_time(page.bodies[-1])
        if page.next_cursor is None:
            replay.state = State.DONE
        held.replay = replay
        held.save()
        if not (replay.dry_run or replay.state.is_final):
            self._pace(len(chosen) / replay.rate - (self._monotonic() - started), held)

    def _read(self, replay: Replay) -> Page:
        most = _PAGE if replay.dry_run else max(1, min(_PAGE, int(replay.rate / _PAGES_A_SECOND)))
        return self._store.list(
            replay.tenant,
            type=replay.type,
            source=replay.source,
            since=replay.since,
            until=replay.until,
            limit=most,
            cursor=replay.cursor,
        )

    def _pace(self, seconds: float, held: Held) -> None:
        """Waits, and keeps the lease meanwhile."""
        while seconds > LEASE_SECONDS / 3:
            self._sleep(LEASE_SECONDS / 3)
            seconds -= LEASE_SECONDS / 3
            held.save()
        if seconds > 0:
            self._sleep(seconds)


def check_filters(filters: Sequence[object]) -> tuple[All | None, list[FieldError]]:
    """The filters, and what is wrong with them."""
    errors: list[FieldError] = []
    return parse_filters(list(filters), "filters", errors), errors


def event_time(body: bytes) -> int:
    """By which the event store lists the event."""
    times = _times.decode(body)
    text = times.time or times.receivedtime
    return micros(text) if text else 0


def _passes(filters: All, body: bytes) -> bool:
    members = _attributes.decode(body)
    return filters({name: str(msgspec.json.decode(raw)) for name, raw in members.items() if name != "data"})
