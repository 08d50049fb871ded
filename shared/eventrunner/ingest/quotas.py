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


class _Spent(msgspec.Struct):
    replica: str
    tenants: dict[str, tuple[int, int]]
    """Events and bytes."""


class Quotas:
    """`tenant_record(name)` gives a tenant's record as bytes; a changed one counts at once, with full buckets."""

    def __init__(
        self, tenant_record: Callable[[str], bytes | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._buckets = PerTenant(tenant_record, self._make)
        self._spent: dict[str, tuple[int, int]] = {}

    def check(self, tenant: str) -> None:
        """Raises QuotaExceeded while the tenant has sent more than it may."""
        buckets = self._buckets.get(tenant)
        if buckets is None:
            return
        now = self._clock()
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
        buckets = self._buckets.get(tenant)
        if buckets is None:
            return False
        now = self._clock()
        buckets.events.take(events, now)
        buckets.bytes.take(size, now)
        return True

    def _make(self, record: bytes | None) -> _Buckets | None:
        quota = None if record is None else Tenant.from_json(record).quota
        if quota is None:
            return None
        now = self._clock()
        return _Buckets(
            quota,
            TokenBucket(quota.events_per_second, quota.events_per_second * quota.burst, now),
            TokenBucket(quota.bytes_per_second, quota.bytes_per_second * quota.burst, now),
        )


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
