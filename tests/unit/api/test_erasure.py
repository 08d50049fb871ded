"""Erasing a tenant and sweeping, over a real registry, event store, ClickHouse and streams."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from eventrunner.access.identity import Identity
from eventrunner.access.keys import make_key
from eventrunner.api import erasure
from eventrunner.cli.main import cli
from eventrunner.clock import format_time, utc_now
from eventrunner.events import decode_batch
from eventrunner.source.letter_box import LetterBox
from eventrunner.source.letters import LetterFilter
from eventrunner.storage.analytics import Analytics, EventCounts
from eventrunner.storage.analytics_model import Totals
from eventrunner.storage.event_store import EventStore, Row
from eventrunner.storage.jetstream import connect
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.modules import ModuleStore, module_name
from eventrunner.storage.records import KEY_USES, Consumer, Key, StoredModule
from eventrunner.storage.registry import Registry
from eventrunner.storage.stores import open_store
from nats.aio.client import Client
from support_api import api_function
from support_clickhouse import chdb_process
from support_identity import sign
from werkzeug.serving import make_server

ADMIN = Identity("root", "", ("admin",))
SECRET_TEXT = "that nobody may ever see again"


class World:
    def __init__(self, url: str, registry: Mirror, store: EventStore, analytics: Analytics, folder: Path) -> None:
        self.url, self.registry, self.store, self.analytics, self.folder = url, registry, store, analytics, folder

    def fill(self, tenant: str, days_ago: int = 0, count: int = 5) -> None:
        received = utc_now() - timedelta(days=days_ago)
        micros = int(received.timestamp() * 1e6)
        rows = []
        for n in range(count):
            event = {"id": f"{days_ago}-{n}", "source": "/s", "type": "t", "specversion": "1.0", "tenantid": tenant}
            event |= {"receivedtime": format_time(received), "usagein": 7, "data": f"{SECRET_TEXT} {n}"}
            rows.append(Row(tenant, "/s", f"{days_ago}-{n}", "t", micros, micros, json.dumps(event).encode()))
        self.store.put(rows)
        self.analytics.insert_events(decode_batch(b"[" + b",".join(row.body for row in rows) + b"]"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("erasure")
    with chdb_process(folder / "chdb") as process:
        url = process.new_url()
        with api_function(folder, url) as (app, registry):
            server = make_server("127.0.0.1", 0, app, threaded=True)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            store, analytics = open_store(f"sqlite:///{folder}/events.db"), Analytics(url)
            store.migrate()
            analytics.migrate()
            yield World(f"http://127.0.0.1:{server.server_port}", registry, store, analytics, folder)
            store.close()
            analytics.close()
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(erasure, "_PAUSE_SECONDS", 0.05)
    monkeypatch.setenv("EVENTRUNNER_URL", world.url)
    monkeypatch.setenv("EVENTRUNNER_KEY", sign(ADMIN))
    return lambda *arguments, **more: CliRunner().invoke(cli, ["tenant", *arguments], **more)


def publish(world: World, *subjects: str, body: bytes = SECRET_TEXT.encode()) -> None:
    async def work() -> None:
        client = await connect(world.registry._nats_url, name="test")
        for subject in subjects:
            await client.jetstream().publish(subject, body)
        await client.close()

    asyncio.run(work())


def deploy(world: World, tenant: str, name: str, code: bytes) -> None:
    """Bytes, and the record of a consumer that has them."""
    ModuleStore(world.registry).keep(code)
    stored = StoredModule(module_name(code), len(code), "component", [], [])
    world.registry.put("consumers", f"{tenant}.{name}", Consumer(tenant, name, module=stored).to_json())


def letters(world: World, tenant: str) -> list[str]:
    """Ids of the events in the tenant's dead letters."""

    async def read(client: Client) -> list[str]:
        page = await LetterBox(client).page(LetterFilter(tenant), 1000, None)
        return [letter.text("id") for letter in page.letters]

    return world.registry.run(read)


def test_nothing_of_an_erased_tenant_is_left_but_final_invoices(run: Callable[..., Result], world: World) -> None:
    for tenant in ("acme", "acme-2"):
        run("create", tenant)
        run("key", tenant)
        world.registry.put("rules", f"{tenant}.r", b"{}")
        world.registry.put("signing_keys", f"{tenant}.some", b"{}")
        world.registry.put("idempotency", f"{tenant}.some", b"{}")
        deploy(world, tenant, "shared", b"shared")
        deploy(world, tenant, "own", tenant.encode())
        world.fill(tenant)
        publish(world, f"raw.{tenant}", f"results.{tenant}", f"deadletter.event-engine.{tenant}", f"logs.{tenant}.own")
    world.store.put_invoice("acme", "INV-1", "2020-01", b"{}")
    done = json.loads(run("erase", "acme", "--yes", "--discard-unbilled", "--json").output)
    assert done["erased"] == {
        "keys": 1, "rules": 1, "signing_keys": 1, "consumers": 2, "tenants": 1, "messages": 2, "dead_letters": 1,
        "events": 5, "rows": 5,
    }  # fmt: skip
    assert done["kept"] == {"invoices": 1}
    assert len(done["discarded_usage"]) == 1
    assert world.store.invoices("acme") == [b"{}"]
    assert world.store.count("acme") == 0
    assert world.analytics.counts() == {"acme-2": EventCounts(5, 0)}
    assert [key for key in world.registry.items("rules") if key.startswith("acme")] == ["acme-2.r"]
    assert [world.registry.count("idempotency", f"{tenant}.*") for tenant in ("acme", "acme-2")] == [0, 1]
    assert list(world.registry.run(lambda client: Registry(client).items("signing_keys"))) == ["acme-2.some"]
    assert [world.registry.purge_subject("LOGS", f"logs.{tenant}.*") for tenant in ("acme", "acme-2")] == [0, 1]
    assert world.store.count("acme-2") == 5
    modules = ModuleStore(world.registry)
    assert [modules.read(module_name(code)) for code in (b"acme", b"acme-2", b"shared")] == [None, b"acme-2", b"shared"]
    again = json.loads(run("erase", "acme", "--yes", "--json").output)
    assert (again["erased"], again["discarded_usage"]) == ({}, [])
    run("erase", "acme-2", "--yes", "--discard-unbilled")
    assert world.analytics.tenants() == []


def test_an_erased_tenant_may_come_again(run: Callable[..., Result], world: World) -> None:
    for _ in range(2):
        run("create", "phoenix")
        world.fill("phoenix")
        assert (world.store.count("phoenix"), world.analytics.count("phoenix")) == (5, 5)
        run("erase", "phoenix", "--yes", "--discard-unbilled")
        assert (world.store.count("phoenix"), world.analytics.count("phoenix")) == (0, 0)


def test_erasing_needs_the_name_once_more(run: Callable[..., Result], world: World) -> None:
    world.fill("dear")
    result = run("erase", "dear", input="deer\n")
    assert result.exit_code == 2
    assert "nothing was deleted" in result.output
    assert run("erase", "dear", "--discard-unbilled", input="dear\n").exit_code == 0
    assert world.store.count("dear") == 0


def test_usage_that_is_on_no_invoice_is_not_let_go_of_by_mistake(run: Callable[..., Result], world: World) -> None:
    world.fill("debtor")
    result = run("erase", "debtor", "--yes")
    assert "409" in str(result.exception)
    assert "unbilled=discard" in str(result.exception)
    assert world.store.count("debtor") == 5


def test_a_sweep_deletes_what_its_tenant_no_longer_wants_to_keep(run: Callable[..., Result], world: World) -> None:
    for tenant in ("short", "long", "ever"):
        run("create", tenant)
        for days_ago in (40, 20, 1):
            world.fill(tenant, days_ago)
    assert run("retention", "short", "--days", "10").output == "10 days\n"
    assert run("retention", "long", "--days", "30").output == "30 days\n"
    assert run("retention", "ever").output == "for ever\n"
    before = world.analytics.totals("short", utc_now() - timedelta(days=60), utc_now())
    assert before == Totals(15, ingress=105)
    swept: dict[str, Any] = json.loads(run("sweep", "--json").output)["tenants"]
    assert swept == {
        "short": {"events": 10, "rows": 10, "dead_letters": 0},
        "long": {"events": 5, "rows": 5, "dead_letters": 0},
    }
    nothing = {"events": 0, "rows": 0, "dead_letters": 0}
    assert json.loads(run("sweep", "--json").output)["tenants"]["short"] == nothing
    assert [world.store.count(tenant) for tenant in ("short", "long", "ever")] == [5, 10, 15]
    # It is still billed.
    assert world.analytics.totals("short", utc_now() - timedelta(days=60), utc_now()) == before
    query = "SELECT countIf(data != '') FROM events WHERE tenantid = {tenant:String}"
    assert world.analytics._clickhouse.query(query, {"tenant": "short"}) == [(5,)]
    assert run("retention", "short", "--none").output == "for ever\n"


def test_a_sweep_drops_dead_letters_of_events_received_too_long_ago(run: Callable[..., Result], world: World) -> None:
    ages = (40, 1, 20, 9)
    for tenant in ("brief", "patient"):
        run("create", tenant)
        for days_ago in ages:
            received = format_time(utc_now() - timedelta(days=days_ago))
            # Given up just now: after a long time in a stream, or once more by a replay.
            letter = {"id": f"{days_ago}", "source": "/s", "type": "t", "receivedtime": received, "data": SECRET_TEXT}
            publish(world, f"deadletter.event-engine.{tenant}", body=json.dumps(letter).encode())
        publish(world, f"deadletter.event-runner.{tenant}", body=b'{"id":"undated"}')
    run("retention", "brief", "--days", "10")
    assert "brief: 0 events, 0 rows, 2 dead letters" in run("sweep").output
    assert letters(world, "brief") == ["1", "9", "undated"]
    assert letters(world, "patient") == [*map(str, ages), "undated"]
    run("retention", "brief", "--days", "5")
    assert json.loads(run("sweep", "--json").output)["tenants"]["brief"]["dead_letters"] == 1
    assert letters(world, "brief") == ["1", "undated"]
    run("retention", "brief", "--none")


@pytest.mark.parametrize("days", ["0", "x"])
def test_a_retention_is_at_least_a_day(run: Callable[..., Result], days: str) -> None:
    assert run("retention", "short", "--days", days).exit_code == 2


def test_a_sweep_removes_keys_whose_grace_is_long_over(run: Callable[..., Result], world: World) -> None:
    run("create", "rotated")
    lived = json.loads(run("key", "rotated", "--json").output)["id"]
    over, recent = (make_key("rotated", ["user"], identifier=name)[1] for name in ("over", "recent"))
    now = utc_now().timestamp()
    for record, expires in ((over, now - 8 * 86_400), (recent, now - 86_400)):
        record.expires = expires
        world.registry.put("keys", record.hash, record.to_json())

    async def note_uses(client: Client) -> None:
        for key in ("over", "recent"):
            await Registry(client).put(KEY_USES, key, b"2026-01-01T00:00:00Z")

    async def uses(client: Client) -> dict[str, bytes]:
        return await Registry(client).items(KEY_USES)

    world.registry.run(note_uses)
    assert "1 keys that were rotated" in run("sweep").output
    kept = {Key.from_json(value).id for value in world.registry.items("keys").values()}
    assert kept & {lived, "over", "recent"} == {lived, "recent"}
    assert set(world.registry.run(uses)) & {"over", "recent"} == {"recent"}
    assert json.loads(run("sweep", "--json").output)["expired_keys"] == 0


def test_only_an_operator_erases_and_sweeps(
    world: World, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTRUNNER_KEY", sign(Identity("bob", "ever", ("user",))))
    assert "403" in str(run("erase", "ever", "--yes").exception)
    assert "403" in str(run("sweep").exception)
