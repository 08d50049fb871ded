"""Where replays stand, and who works on one: every write is a compare-and-set on the record."""

from __future__ import annotations

from collections.abc import Callable

from eventrunner.clock import Clock, format_time, utc_now
from eventrunner.errors import Conflict, NotFound
from eventrunner.ids import IdMaker, new_id
from eventrunner.replay.record import Lease, Replay, State
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.records import REPLAYS, tenant_key

__all__ = ["LEASE_SECONDS", "Held", "Lost", "ReplayLedger"]

LEASE_SECONDS = 15.0
"""A worker that has not written for so long is taken for dead."""
_LONGEST_LEASE = 2 * LEASE_SECONDS
"""As another machine's clock may say it. One that lasts longer was written before a clock was set back."""
_ATTEMPTS = 5


class Lost(Conflict):
    """The lease is somebody else's now, or the replay has ended."""


class ReplayLedger:
    """Safe to share between threads. Every method may raise Unavailable."""

    def __init__(self, registry: Mirror, clock: Clock = utc_now) -> None:
        self._registry = registry
        self._clock = clock

    def get(self, tenant: str, replay_id: str) -> Replay:
        """Raises NotFound."""
        return self._entry(tenant, replay_id)[0]

    def create(self, replay: Replay) -> Replay:
        """Raises Conflict if there is or ever was one of its id."""
        replay.created = format_time(self._clock())
        self._save(replay, 0)
        return replay

    def delete(self, replay: Replay) -> None:
        self._registry.delete(REPLAYS, replay.key)

    def change(self, tenant: str, replay_id: str, change: Callable[[Replay], None]) -> Replay:
        """Again when somebody else was faster. Raises NotFound, Conflict when that goes on."""
        for attempt in range(_ATTEMPTS):
            replay, revision = self._entry(tenant, replay_id)
            change(replay)
            try:
                self._save(replay, revision)
                return replay
            except Conflict:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def hold(self, tenant: str, replay_id: str, owner: IdMaker = new_id) -> Held | None:
        """The replay with a lease on it; None while somebody else has one. Raises NotFound, Lost when it has ended."""
        replay, revision = self._entry(tenant, replay_id)
        if replay.state.is_final:
            raise Lost(f"Replay {replay_id} is {replay.state.value}.")
        if replay.lease is not None and 0 < replay.lease.until - self._clock().timestamp() <= _LONGEST_LEASE:
            return None
        held = Held(self, replay, revision, owner())
        replay.state = State.RUNNING
        try:
            held.save()
        except Lost:
            return None
        return held

    def _entry(self, tenant: str, replay_id: str) -> tuple[Replay, int]:
        entry = self._registry.entry(REPLAYS, tenant_key(tenant, replay_id))
        if entry is None:
            raise NotFound(f"Tenant {tenant} has no replay {replay_id}; records are kept for 30 days.")
        return Replay.from_json(entry[0]), entry[1]

    def _save(self, replay: Replay, revision: int) -> int:
        replay.updated = format_time(self._clock())
        return self._registry.update(REPLAYS, replay.key, replay.to_json(), revision)


class Held:
    """A replay and the lease on it."""

    def __init__(self, ledger: ReplayLedger, replay: Replay, revision: int, owner: str) -> None:
        self.replay = replay
        self._ledger = ledger
        self._revision = revision
        self._owner = owner

    def save(self) -> None:
        """Writes how far it is and prolongs the lease. Raises Lost when the record was written by somebody else."""
        now = self._ledger._clock().timestamp()
        self.replay.lease = None if self.replay.state.is_final else Lease(self._owner, now + LEASE_SECONDS)
        self._write()

    def release(self) -> None:
        """Lets somebody else go on at once. Raises Lost."""
        self.replay.lease = None
        self._write()

    def _write(self) -> None:
        try:
            self._revision = self._ledger._save(self.replay, self._revision)
        except Conflict as error:
            raise Lost(f"Replay {self.replay.id} was changed by somebody else.") from error
