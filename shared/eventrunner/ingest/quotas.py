"""What each tenant may send: token buckets of events and of bytes, filled as its quota says."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from eventrunner.errors import QuotaExceeded
from eventrunner.ids import new_id
from eventrunner.storage.per_tenant import PerTenant
from eventrunner.storage.records import Quota, Tenant

__all__ = ["Quotas", "TokenBucket", "share"]

_SUBJECT = "eventrunner.quota.spent"
_SHARE_SECONDS = 0.1


class TokenBucket:
    """Fills by `rate` a second up to `capacity`, and is full at first.

    A request is let through when the bucket is not overdrawn, and may overdraw it: so a batch larger than the capacity
    is not refused for ever, and those after it wait until it is paid for.
    """

    def __init__(self, rate: float, capacity: float, now: float) -> None:
        self._rate = rate
        self._capacity = capacity
        self._level = capacity
        self._at = now

    def wait(self, now: float) -> float:
        """Seconds until a request is let through; 0 for at once."""
        self._fill(now)
        return max(0.0, -self._level / self._rate)

    def take(self, amount: float, now: float) -> None:
        self._fill(now)
        self._level -= amount

    def resized(self, rate: float, capacity: float, now: float) -> TokenBucket:
        """A bucket that is as full, in its share; what this one is overdrawn is still owed."""
        self._fill(now)
        bucket = TokenBucket(rate, capacity, now)
        bucket._level = self._level * (capacity / self._capacity if self._level > 0 else 1.0)
        return bucket

    def _fill(self, now: float) -> None:
        # Time never runs backwards here, but two callers may have looked at the clock in another order.
        if now > self._at:
            self._level = min(self._capacity, self._level + (now - self._at) * self._rate)
            self._at = now


@dataclass(frozen=True, slots=True)
class _Buckets:
    quota: Quota
    events: TokenBucket
    bytes: TokenBucket

    @classmethod
    def full(cls, quota: Quota, now: float) -> _Buckets:
        events, size = quota.events_per_second, quota.bytes_per_second
        return cls(quota, TokenBucket(events, events * quota.burst, now), TokenBucket(size, size * quota.burst, now))

    def resized(self, quota: Quota, now: float) -> _Buckets:
        events, size = quota.events_per_second, quota.bytes_per_second
        return _Buckets(
            quota,
            self.events.resized(events, events * quota.burst, now),
            self.bytes.resized(size, size * quota.burst, now),
        )


class _Spent(msgspec.Struct):
    replica: str
    tenants: dict[str, tuple[int, int]]
    """Events and bytes."""


class Quotas:
    """`tenant_record(name)` gives a tenant's record as bytes. A changed quota counts at once, with buckets that are as
    full as before; any other change of the record touches them not at all."""

    def __init__(
        self, tenant_record: Callable[[str], bytes | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._quotas = PerTenant(tenant_record, _quota_of)
        self._made: dict[str, _Buckets] = {}
        self._spent: dict[str, tuple[int, int]] = {}

    def check(self, tenant: str) -> None:
        """Raises QuotaExceeded while the tenant has sent more than it may."""
        now = self._clock()
        buckets = self._buckets(tenant, now)
        if buckets is None:
            return
        wait = max(buckets.events.wait(now), buckets.bytes.wait(now))
        if wait > 0:
            quota = buckets.quota
            raise QuotaExceeded(
                f"Tenant {tenant} may send {quota.events_per_second} events and {quota.bytes_per_second} bytes "
                f"a second; nothing was taken. Try again in {wait:.1f} s.",
                retry_after=wait,
            )

    def charge(self, tenant: str, events: int, size: int) -> None:
        """Takes what a request of `events` and `size` bytes costs."""
        if self._take(tenant, events, size):
            before = self._spent.get(tenant, (0, 0))
            self._spent[tenant] = (before[0] + events, before[1] + size)

    def charge_others(self, spent: Mapping[str, tuple[int, int]]) -> None:
        """Takes what other replicas let through."""
        for tenant, (events, size) in spent.items():
            self._take(tenant, events, size)

    def take_spent(self) -> dict[str, tuple[int, int]]:
        """What was charged here since the last call, of tenants that have a quota."""
        spent, self._spent = self._spent, {}
        return spent

    def _take(self, tenant: str, events: int, size: int) -> bool:
        now = self._clock()
        buckets = self._buckets(tenant, now)
        if buckets is None:
            return False
        buckets.events.take(events, now)
        buckets.bytes.take(size, now)
        return True

    def _buckets(self, tenant: str, now: float) -> _Buckets | None:
        quota, known = self._quotas.get(tenant), self._made.get(tenant)
        if quota is None:
            self._made.pop(tenant, None)
            return None
        if known is None or known.quota != quota:
            known = _Buckets.full(quota, now) if known is None else known.resized(quota, now)
            self._made[tenant] = known
        return known


def _quota_of(record: bytes | None) -> Quota | None:
    return None if record is None else Tenant.from_json(record).quota


async def share(quotas: Quotas, client: Client) -> None:
    """Tells the other replicas what was let through here, and charges what they tell: a quota is for all of them
    together, give or take what comes in within a tenth of a second. Runs until it is cancelled."""
    replica = new_id()

    async def charge(message: Msg) -> None:
        try:
            spent = msgspec.json.decode(message.data, type=_Spent)
        except msgspec.DecodeError:
            return
        if spent.replica != replica:
            quotas.charge_others(spent.tenants)

    await client.subscribe(_SUBJECT, cb=charge)
    while True:
        await asyncio.sleep(_SHARE_SECONDS)
        if spent := quotas.take_spent():
            # While NATS is away nothing is accepted here or elsewhere.
            with contextlib.suppress(NatsError, OSError):
                await client.publish(_SUBJECT, msgspec.json.encode(_Spent(replica, spent)))
