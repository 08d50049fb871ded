from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from eventrunner.errors import Conflict, InvalidInput, Unavailable
from eventrunner.source.streams import apply_streams, parse_stream
from eventrunner.storage.jetstream import JetStreamApi, connect
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.records import RuleSet, RuleVersion, Tenant, hash_key, new_key, rule_key
from eventrunner.storage.registry import Change, Registry
from support_nats import NatsServer, nats_server

BUCKETS = ("tenants", "rules")


async def make_buckets(url: str) -> None:
    client = await connect(url, name="test")
    manifests = [
        {
            "apiVersion": "jetstream.nats.io/v1beta2",
            "kind": "KeyValue",
            "metadata": {"name": name},
            "spec": {"bucket": name, "history": 5},
        }
        for name in BUCKETS
    ]
    await apply_streams(JetStreamApi(client), [parse_stream(manifest) for manifest in manifests])
    await client.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path) as running:
        asyncio.run(make_buckets(running.url))
        yield running


@pytest.fixture
def mirror(server: NatsServer) -> Iterator[Mirror]:
    mirror = Mirror(server.url, BUCKETS)
    yield mirror
    mirror.close()


def until(check: object, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.02)


class TestRegistry:
    def run(self, server: NatsServer, work: object) -> None:
        async def with_registry() -> None:
            registry = await Registry.connect(server.url)
            try:
                await work(registry)  # type: ignore[operator]
            finally:
                await registry.close()

        asyncio.run(with_registry())

    def test_keeps_what_was_put_and_forgets_what_was_deleted(self, server: NatsServer) -> None:
        async def work(registry: Registry) -> None:
            assert await registry.get("tenants", "acme") is None
            await registry.put("tenants", "acme", b"1")
            assert await registry.get("tenants", "acme") == b"1"
            assert await registry.items("tenants") == {"acme": b"1"}
            await registry.delete("tenants", "acme")
            assert await registry.get("tenants", "acme") is None
            assert await registry.items("tenants") == {}

        self.run(server, work)

    def test_create_refuses_a_key_that_is_there_and_takes_a_deleted_one(self, server: NatsServer) -> None:
        async def work(registry: Registry) -> None:
            await registry.create("tenants", "acme", b"1")
            with pytest.raises(Conflict):
                await registry.create("tenants", "acme", b"2")
            await registry.delete("tenants", "acme")
            await registry.create("tenants", "acme", b"3")
            assert await registry.get("tenants", "acme") == b"3"

        self.run(server, work)

    def test_delete_of_a_revision_refuses_a_key_written_in_between(self, server: NatsServer) -> None:
        async def work(registry: Registry) -> None:
            revision = await registry.put("rules", "acme.d", b"1")
            later = await registry.put("rules", "acme.d", b"2")
            with pytest.raises(Conflict):
                await registry.delete("rules", "acme.d", revision)
            assert await registry.get("rules", "acme.d") == b"2"
            await registry.delete("rules", "acme.d", later)
            assert await registry.get("rules", "acme.d") is None

        self.run(server, work)

    def test_update_refuses_a_key_written_in_between(self, server: NatsServer) -> None:
        async def work(registry: Registry) -> None:
            revision = await registry.put("rules", "acme.r", b"1")
            await registry.put("rules", "acme.r", b"2")
            with pytest.raises(Conflict):
                await registry.update("rules", "acme.r", b"3", revision)
            entry = await registry.entry("rules", "acme.r")
            assert entry is not None
            await registry.update("rules", "acme.r", b"3", entry[1])

        self.run(server, work)

    def test_names_a_missing_bucket_and_a_wrong_key(self, server: NatsServer) -> None:
        async def work(registry: Registry) -> None:
            with pytest.raises(Unavailable, match="streams apply"):
                await registry.get("nowhere", "a")
            with pytest.raises(InvalidInput):
                await registry.put("tenants", "a b", b"")

        self.run(server, work)

    def test_watch_gives_what_is_there_and_then_changes(self, server: NatsServer) -> None:
        async def work(registry: Registry) -> None:
            await registry.put("tenants", "a", b"1")
            changes: AsyncIterator[Change] = registry.watch("tenants")
            assert await anext(changes) == Change("tenants", "a", b"1")
            await registry.put("tenants", "b", b"2")
            assert await anext(changes) == Change("tenants", "b", b"2")
            await registry.delete("tenants", "a")
            assert await anext(changes) == Change("tenants", "a", None)
            await changes.aclose()  # type: ignore[attr-defined]

        self.run(server, work)


class TestMirror:
    def test_reads_its_own_writes(self, mirror: Mirror) -> None:
        for number in range(20):
            mirror.put("tenants", "acme", b"%d" % number)
            assert mirror.get("tenants", "acme") == b"%d" % number
        mirror.delete("tenants", "acme")
        assert mirror.get("tenants", "acme") is None
        mirror.create("tenants", "acme", b"again")
        with pytest.raises(Conflict):
            mirror.create("tenants", "acme", b"twice")

    def test_catches_up_with_a_bucket_whose_last_messages_are_gone(self, server: NatsServer, mirror: Mirror) -> None:
        """As those are that have expired."""
        mirror.forget("tenants", "gone", mirror.put("tenants", "gone", b"1"))
        fresh = Mirror(server.url, ("tenants",))
        fresh.catch_up("tenants")
        assert fresh.get("tenants", "gone") is None
        fresh.close()

    def test_gives_the_same_objects_until_something_changes(self, mirror: Mirror) -> None:
        mirror.put("tenants", "a", b"1")
        mirror.put("tenants", "b", b"1")
        state, value = mirror.items("tenants"), mirror.get("tenants", "a")
        assert mirror.items("tenants") is state
        mirror.put("tenants", "b", b"2")
        assert mirror.items("tenants") is not state
        assert mirror.get("tenants", "a") is value

    @pytest.mark.alone
    def test_shows_a_change_of_another_process_at_once(self, server: NatsServer, mirror: Mirror) -> None:
        other = Mirror(server.url, ("tenants",))
        seen = threading.Event()
        mirror.start()
        mirror.on_change(lambda change: seen.set())
        started = time.monotonic()
        other.put("tenants", "acme", b"1")
        assert seen.wait(1.0)
        assert mirror.get("tenants", "acme") == b"1"
        assert time.monotonic() - started < 1.0
        other.close()

    def test_serves_the_last_state_while_nats_is_away_and_catches_up(self, server: NatsServer, mirror: Mirror) -> None:
        mirror.put("tenants", "a", b"1")
        server.stop()
        assert mirror.get("tenants", "a") == b"1"
        server.start()
        other = Mirror(server.url, ("tenants",))
        other.put("tenants", "a", b"2")
        until(lambda: mirror.get("tenants", "a") == b"2")
        other.close()

    def test_forgets_what_is_gone_when_nats_comes_back_empty(self, server: NatsServer, mirror: Mirror) -> None:
        mirror.put("tenants", "a", b"1")
        server.stop()
        server.wipe()
        server.start()
        asyncio.run(make_buckets(server.url))
        until(lambda: mirror.get("tenants", "a") is None)
        mirror.put("tenants", "b", b"1")
        until(lambda: mirror.get("tenants", "b") == b"1")

    def test_says_so_when_nats_is_away_at_first_and_works_later(self, tmp_path: Path) -> None:
        server = NatsServer(tmp_path)
        mirror = Mirror(server.url.replace("//", "//secret@"), BUCKETS, timeout=0.3)
        with pytest.raises(Unavailable) as caught:
            mirror.get("tenants", "a")
        assert "secret" not in str(caught.value)
        server.start()
        try:
            asyncio.run(make_buckets(server.url))

            def loaded() -> bool:
                try:
                    return mirror.get("tenants", "a") is None
                except Unavailable:
                    return False

            until(loaded)
        finally:
            mirror.close()
            server.stop()


class TestRecords:
    def test_a_tenant_survives_json(self) -> None:
        tenant = Tenant("acme", quota=None, routes=[{"name": "r"}])
        assert Tenant.from_json(tenant.to_json()) == tenant

    def test_a_record_that_cannot_be_read_is_invalid_input(self) -> None:
        for value in (b"", b"[]", b'{"id": 5}', b'{"id": "a b"}'):
            with pytest.raises(InvalidInput):
                Tenant.from_json(value)

    def test_a_key_is_kept_only_as_its_hash(self) -> None:
        text, key = new_key("acme", ["user"])
        assert text.startswith("er_")
        assert len(text) == 43
        assert key.hash == hash_key(text)
        assert text.encode() not in key.to_json()
        assert key.last4 == text[-4:]

    def test_the_rule_set_in_force_is_the_active_version(self) -> None:
        rules = RuleSet("acme", "r", active=2, versions=[RuleVersion(1, "a"), RuleVersion(2, "b")])
        assert rules.in_force == RuleVersion(2, "b")
        assert RuleSet("acme", "r").in_force is None
        assert rule_key("acme", "r") == "acme.r"
