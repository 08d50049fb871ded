from __future__ import annotations

import asyncio
from pathlib import Path

import nats
import pytest
from eventrunner.errors import QuotaExceeded
from eventrunner.ingest.quotas import Quotas, TokenBucket, share
from eventrunner.storage.records import Quota, Tenant
from hypothesis import given
from hypothesis import strategies as st
from support_nats import NatsServer, eventually, nats_server


def record(quota: Quota | None, name: str = "") -> bytes:
    return Tenant(id="acme", name=name, quota=quota).to_json()


class World:
    """A registry and a clock that stand still until they are changed."""

    def __init__(self, quota: Quota | None) -> None:
        self.now = 0.0
        self.record: bytes | None = record(quota)
        self.quotas = Quotas(lambda _: self.record, lambda: self.now)

    def wait(self) -> float:
        """Seconds that a request is told to wait."""
        try:
            self.quotas.check("acme")
        except QuotaExceeded as error:
            return error.retry_after
        return 0.0


def test_a_tenant_without_a_quota_may_send_anything() -> None:
    world = World(None)
    world.quotas.charge("acme", 10**9, 10**12)
    assert world.wait() == 0
    world.record = None
    assert world.wait() == 0


def test_the_burst_is_let_through_and_then_the_rate() -> None:
    world = World(Quota(events_per_second=100, bytes_per_second=10**9, burst=2.0))
    for _ in range(2):
        assert world.wait() == 0
        world.quotas.charge("acme", 100, 1)
    world.quotas.charge("acme", 50, 1)
    assert world.wait() == pytest.approx(0.5)
    world.now += 0.6
    assert world.wait() == 0


def test_bytes_count_as_events_do() -> None:
    world = World(Quota(events_per_second=10**9, bytes_per_second=1000, burst=1.0))
    world.quotas.charge("acme", 1, 4000)
    assert world.wait() == pytest.approx(3.0)


def test_a_batch_larger_than_the_burst_is_taken_and_paid_for_afterwards() -> None:
    world = World(Quota(events_per_second=10, bytes_per_second=10**9, burst=1.0))
    assert world.wait() == 0
    world.quotas.charge("acme", 500, 1)
    assert world.wait() == pytest.approx(49.0)


def test_a_changed_quota_counts_at_once_for_what_is_owed() -> None:
    world = World(Quota(events_per_second=1, bytes_per_second=10**9, burst=2.0))
    world.quotas.charge("acme", 102, 1)
    assert world.wait() == pytest.approx(100)
    world.record = record(Quota(events_per_second=1000, bytes_per_second=10**9, burst=2.0))
    assert world.wait() == pytest.approx(0.1)


@pytest.mark.parametrize("overdrawn", [0.4, 40])
def test_another_change_of_the_tenants_record_fills_no_bucket(overdrawn: float) -> None:
    quota = Quota(events_per_second=10, bytes_per_second=1000, burst=1.0)
    for events, size in ((10 + round(10 * overdrawn), 1), (1, 1000 + round(1000 * overdrawn))):
        world = World(quota)
        world.quotas.charge("acme", events, size)
        for number in range(5):
            world.record = record(quota, name=f"name {number}")
            assert world.wait() == pytest.approx(overdrawn)
        world.now += overdrawn / 2
        world.record = record(quota, name="another")
        assert world.wait() == pytest.approx(overdrawn / 2)


@pytest.mark.parametrize("rate", [5, 10, 400])
def test_a_bucket_is_as_full_after_a_change_of_the_quota(rate: int) -> None:
    world = World(Quota(events_per_second=100, bytes_per_second=10**9, burst=1.0))
    world.quotas.charge("acme", 75, 1)
    world.record = record(Quota(events_per_second=rate, bytes_per_second=10**9, burst=2.0))
    # A quarter of two seconds' worth, and one second's worth is owed.
    world.quotas.charge("acme", round(1.5 * rate), 1)
    assert world.wait() == pytest.approx(1.0, abs=0.11)


def test_changing_the_quota_to_and_fro_yields_nothing() -> None:
    world = World(Quota(events_per_second=10, bytes_per_second=10**9, burst=1.0))
    world.quotas.charge("acme", 8, 1)
    for rate in (1000, 10, 1, 500, 10):
        world.record = record(Quota(events_per_second=rate, bytes_per_second=10**9, burst=1.0))
        assert world.wait() == 0
    world.quotas.charge("acme", 4, 1)
    assert world.wait() == pytest.approx(0.2)


def test_a_quota_that_was_taken_away_and_comes_back_begins_full() -> None:
    quota = Quota(events_per_second=10, bytes_per_second=10**9, burst=1.0)
    world = World(quota)
    world.quotas.charge("acme", 100, 1)
    world.record = record(None)
    assert world.wait() == 0
    world.record = record(quota)
    assert world.wait() == 0


def test_what_was_not_stored_is_given_back() -> None:
    world = World(Quota(events_per_second=1, bytes_per_second=1))
    world.quotas.charge("acme", 100, 100)
    world.quotas.charge("acme", -100, -100)
    assert world.wait() == 0


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 300)), max_size=60))
def test_over_any_time_no_more_passes_than_burst_and_rate_and_one_request(requests: list[tuple[float, int]]) -> None:
    bucket, now, passed, largest = TokenBucket(100, 200, 0.0), 0.0, 0, 0
    for pause, amount in requests:
        now += pause
        if bucket.wait(now) == 0:
            bucket.take(amount, now)
            passed, largest = passed + amount, max(largest, amount)
    assert passed <= 200 + 100 * now + largest + 1e-6


def test_a_quota_is_for_all_replicas_together(tmp_path: Path) -> None:
    quota = record(Quota(events_per_second=10, bytes_per_second=10**9, burst=1.0))

    def waits(quotas: Quotas) -> float:
        try:
            quotas.check("acme")
        except QuotaExceeded as error:
            return error.retry_after
        return 0.0

    async def run(server: NatsServer) -> None:
        replicas = [Quotas(lambda _: quota) for _ in range(2)]
        clients = [await nats.connect(server.url) for _ in replicas]
        tasks = [asyncio.create_task(share(quotas, client)) for quotas, client in zip(replicas, clients, strict=True)]
        await asyncio.sleep(0.1)
        replicas[0].charge("acme", 1000, 1)
        await eventually(lambda: waits(replicas[1]) > 0)
        # What one was told is not told back.
        await asyncio.sleep(0.3)
        assert 0 < waits(replicas[0]) < 100
        for task in tasks:
            task.cancel()
        for client in clients:
            await client.close()

    with nats_server(tmp_path) as server:
        asyncio.run(run(server))
