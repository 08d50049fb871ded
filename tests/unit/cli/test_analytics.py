"""`eventrunner analytics rebuild` against the real API, event store and ClickHouse."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result
from eventrunner.access.identity import Identity
from eventrunner.cli.main import cli
from eventrunner.storage.analytics import Analytics, EventCounts
from eventrunner.storage.event_store import Row
from eventrunner.storage.stores import open_store
from support_api import api_function
from support_clickhouse import chdb_process
from support_identity import sign
from werkzeug.serving import make_server

DAY = 86_400_000_000
RECEIVED = "2026-01-05T00:00:00.000000Z"


def _row(tenant: str, n: int) -> Row:
    event = {"id": f"{n}", "source": "/s", "type": "t", "specversion": "1.0", "tenantid": tenant}
    event |= {"time": f"2026-01-{1 + n:02}T00:00:00Z", "receivedtime": RECEIVED, "usagein": 5, "data": {"n": n}}
    return Row(tenant, "/s", f"{n}", "t", 20_454 * DAY + n * DAY, 0, json.dumps(event).encode())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Analytics]]:
    folder = tmp_path_factory.mktemp("analytics")
    store = open_store(f"sqlite:///{folder}/events.db")
    store.migrate()
    store.put([_row(tenant, n) for tenant in ("acme", "globex", "other") for n in range(20)])
    store.close()
    with chdb_process(folder / "chdb") as process:
        url = process.new_url()
        with api_function(folder, url) as (app, _):
            server = make_server("127.0.0.1", 0, app, threaded=True)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            analytics = Analytics(url)
            yield f"http://127.0.0.1:{server.server_port}", analytics
            analytics.close()
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture
def run(served: tuple[str, Analytics], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("EVENTRUNNER_URL", served[0])
    monkeypatch.setenv("EVENTRUNNER_KEY", sign(Identity("root", "", ("admin",))))
    return lambda *arguments: CliRunner().invoke(cli, ["analytics", "rebuild", *arguments])


def test_a_tenant_and_time_then_all_are_rebuilt(run: Callable[..., Result], served: tuple[str, Analytics]) -> None:
    span = ("--from", "2026-01-05T00:00:00Z", "--to", "2026-01-07T00:00:00Z")
    assert json.loads(run("globex", *span, "--json").output) == {"tenants": 1, "checked": 2, "restored": 2}
    assert served[1].counts() == {"globex": EventCounts(2, 0)}
    assert run("--all").output.endswith("60 events of 3 tenants checked, 58 restored\n")
    assert run("--all").output.endswith("60 events of 3 tenants checked, 0 restored\n")
    assert served[1].counts() == {tenant: EventCounts(20, 0) for tenant in ("acme", "globex", "other")}


def test_who_has_no_events_has_nothing_to_rebuild(run: Callable[..., Result]) -> None:
    assert json.loads(run("nobody", "--json").output) == {"tenants": 1, "checked": 0, "restored": 0}


@pytest.mark.parametrize("arguments", [(), ("acme", "--all")])
def test_wrong_use_exits_2(run: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [("acme", "--from", "yesterday"), ("a b",)])
def test_what_the_api_refuses_is_told(run: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    assert "422" in str(run(*arguments).exception)
