"""Usage and invoices over a real registry, event store and ClickHouse, called as functions-framework calls them."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from eventrunner.access.identity import Identity
from eventrunner.clock import format_time
from eventrunner.events import Event
from eventrunner.source.streams import apply_streams, read_streams
from eventrunner.storage.analytics import Analytics
from eventrunner.storage.jetstream import JetStreamApi, connect
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.records import Tenant
from eventrunner.storage.stores import open_store
from flask.testing import FlaskClient
from functions_framework import create_app
from support_clickhouse import chdb_process
from support_identity import JWKS, sign
from support_nats import nats_server
from werkzeug.test import TestResponse

ROOT = Path(__file__).parents[3]
ADMIN = Identity("root", "platform", ("admin",))
ALICE = Identity("alice", "acme", ("user",))
PAST = datetime(2025, 3, 10, 12, tzinfo=UTC)
GOLD = b'{"currency":"EUR","charges":[{"model":"per_unit","label":"Events","meter":"events","unit_price":"0.015"}]}'


class Caller:
    def __init__(self, client: FlaskClient, registry: Mirror, analytics: Analytics) -> None:
        self._client = client
        self.registry = registry
        self.analytics = analytics

    def __call__(
        self, method: str, path: str, *, who: Identity = ADMIN, accept: str = "*/*", match: str = "", **more: Any
    ) -> TestResponse:
        headers = {"Authorization": f"Bearer {sign(who)}", "Accept": accept} | ({"If-Match": match} if match else {})
        return self._client.open(f"/api/v1/{path}", method=method, headers=headers, **more)

    def json(self, method: str, path: str, *, status: int = 200, **more: Any) -> Any:
        response = self(method, path, **more)
        assert response.status_code == status, response.text
        return response.get_json(force=True)

    def put_events(self, tenant: str, count: int, received: datetime = PAST, **attributes: Any) -> None:
        values = {"source": "/s", "type": "t", "tenantid": tenant, "receivedtime": format_time(received), **attributes}
        self.analytics.insert_events([Event(id=f"{received}-{n}", **values) for n in range(count)])


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    folder = tmp_path_factory.mktemp("billing")
    with (
        nats_server(folder / "nats") as nats,
        chdb_process(folder / "chdb") as clickhouse,
        pytest.MonkeyPatch.context() as patch,
    ):
        asyncio.run(_apply(nats.url))
        url = f"{clickhouse.url}/eventrunner"
        patch.setenv("EVENTRUNNER_NATS_URL", nats.url)
        patch.setenv("EVENTRUNNER_STORE_URL", f"sqlite:///{folder}/events.db")
        patch.setenv("EVENTRUNNER_CLICKHOUSE_URL", url)
        patch.setenv("EVENTRUNNER_GATEWAY_JWKS", JWKS)
        patch.setattr("eventrunner.stage.http.configure_logging", lambda *_: None)
        registry = Mirror(nats.url, ("tenants", "plans"))
        registry.put("plans", "gold", GOLD)
        registry.put("tenants", "acme", Tenant("acme", plan="gold").to_json())
        analytics = Analytics(url)
        analytics.migrate()
        app = create_app(target="main", source=str(ROOT / "functions" / "billing" / "main.py"))
        yield Caller(app.test_client(), registry, analytics)
        registry.close()


async def _apply(url: str) -> None:
    client = await connect(url, name="test")
    await apply_streams(JetStreamApi(client), read_streams([ROOT / "knative" / "base" / "streams.yaml"]))
    await client.close()


class TestUsage:
    def test_usage_leaves_as_decimal_strings(self, call: Caller) -> None:
        call.put_events("u1", 3, usagein=5, usagecpu=500_000_000, usagemem=2**20 * 100)
        answer = call.json("GET", "usage/u1?from=2025-03-01T00:00:00Z&to=2025-04-01T00:00:00Z")
        assert answer["usage"] == [
            {
                "from": "2025-03-01T00:00:00.000000Z",
                "to": "2025-04-01T00:00:00.000000Z",
                "events": "3",
                "derived": "0",
                "rules": "0",
                "cpu_usage": "1.5",
                "memory_usage": "0.3",
                "network_ingress": "15",
                "network_egress": "0",
            }
        ]

    def test_windows_and_groups_are_those_asked_for(self, call: Caller) -> None:
        call.put_events("u2", 2)
        call.put_events("u2", 1, PAST + timedelta(days=1), type="other")
        query = "from=2025-03-01T00:00:00Z&to=2025-04-01T00:00:00Z&window=day&tz=Europe/Berlin&group_by=type"
        rows = call.json("GET", f"usage/u2?{query}")["usage"]
        assert [(row["from"], row["type"], row["events"]) for row in rows] == [
            ("2025-03-09T23:00:00.000000Z", "t", "2"),
            ("2025-03-10T23:00:00.000000Z", "other", "1"),
        ]

    def test_without_an_interval_it_is_the_running_month(self, call: Caller) -> None:
        call.put_events("u3", 2, datetime.now(UTC) - timedelta(seconds=1))
        assert call.json("GET", "usage/u3")["usage"][0]["events"] in ("2", "0")
        assert call.json("GET", "usage/nobody")["usage"][0]["events"] == "0"

    def test_csv_by_accept_or_by_format(self, call: Caller) -> None:
        call.put_events("u4", 2)
        path = "usage/u4?from=2025-03-01T00:00:00Z&to=2025-04-01T00:00:00Z&group_by=type,source"
        for response in (call("GET", path, accept="text/csv"), call("GET", f"{path}&format=csv")):
            assert response.content_type == "text/csv; charset=utf-8"
            (row,) = csv.DictReader(io.StringIO(response.text))
            assert (row["type"], row["source"], row["events"]) == ("t", "/s", "2")

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("from=yesterday", "from"),
            ("from=2025-03-02T00:00:00Z&to=2025-03-01T00:00:00Z", "from"),
            ("window=week", "window"),
            ("tz=Nowhere", "tz"),
            ("group_by=id", "group_by"),
            ("format=pdf", "format"),
            ("windows=day", "windows"),
        ],
    )
    def test_a_wrong_parameter_is_named(self, call: Caller, query: str, field: str) -> None:
        problem = call.json("GET", f"usage/acme?{query}", status=422)
        assert [error["field"] for error in problem["errors"]] == [field]

    def test_another_tenants_usage_is_forbidden(self, call: Caller) -> None:
        assert call("GET", "usage/acme", who=ALICE).status_code == 200
        assert call("GET", "usage/globex", who=ALICE).status_code == 403


class TestInvoices:
    def test_the_running_month_is_a_preview_by_the_tenants_plan(self, call: Caller) -> None:
        now = datetime.now(UTC)
        call.put_events("acme", 1001, now)
        preview = call.json("GET", "invoice/acme", who=ALICE)
        assert (preview["status"], preview["plan"]["name"], preview["currency"]) == ("preview", "gold", "EUR")
        assert preview["period"] == f"{now:%Y-%m}"
        assert (preview["lines"][0]["quantity"], preview["total"]) == ("1001", "15.02")
        assert call.json("GET", f"invoice/acme/{preview['id']}")["total"] == "15.02"

    def test_a_closed_month_never_changes_again(self, call: Caller) -> None:
        call.put_events("c1", 5)
        order = {"tenant": "c1", "period": "2025-03"}
        first = call.json("POST", "billing/close", json=order)
        call.put_events("c1", 7, PAST + timedelta(hours=1))
        assert call.json("POST", "billing/close", json=order) == first
        (invoice,) = first["invoices"]
        assert (invoice["id"], invoice["status"], invoice["usage"]["events"]) == ("c1-202503-001", "final", "5")
        assert call.json("GET", "invoice/c1/c1-202503-001") == invoice
        assert call.json("GET", "invoice/c1?period=2025-03") == invoice
        assert call.json("GET", "invoices/c1") == {"invoices": [invoice], "next": None}

    def test_whoever_closes_first_counts(self, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        order = {"tenant": "c2", "period": "2025-03"}
        store_class = type(open_store("sqlite:///unused.db"))
        with monkeypatch.context() as patch:
            # As two workers see it that both found the month open.
            patch.setattr(store_class, "get_invoice", lambda *_: None)
            first = call.json("POST", "billing/close", json=order)
        call.put_events("c2", 1)
        assert call.json("POST", "billing/close", json=order) == first

    def test_all_tenants_are_closed_at_once(self, call: Caller) -> None:
        call.put_events("c3", 1, datetime(2024, 5, 1, tzinfo=UTC))
        closed = call.json("POST", "billing/close", json={"period": "2024-05"})
        totals = {invoice["tenant"]: invoice["total"] for invoice in closed["invoices"]}
        assert totals["c3"] == "9.00"
        assert totals["acme"] == "0.00"
        assert list(totals) == sorted(totals)

    def test_a_month_that_is_not_over_is_not_closed(self, call: Caller) -> None:
        order = {"tenant": "acme", "period": f"{datetime.now(UTC):%Y-%m}"}
        problem = call.json("POST", "billing/close", json=order, status=422)
        assert problem["errors"][0]["field"] == "period"

    @pytest.mark.parametrize("order", [{}, {"period": "2025-13"}, {"period": 2025}, {"period": "2025-03", "x": 1}])
    def test_a_wrong_order_is_refused(self, call: Caller, order: dict[str, Any]) -> None:
        assert call("POST", "billing/close", json=order).status_code == 422

    def test_closing_has_no_condition(self, call: Caller) -> None:
        order = {"tenant": "acme", "period": "2025-03"}
        assert call("POST", "billing/close", json=order, match='"1"').status_code == 412

    def test_only_an_admin_closes(self, call: Caller) -> None:
        order = {"tenant": "acme", "period": "2025-03"}
        assert call("POST", "billing/close", json=order, who=ALICE).status_code == 403

    def test_another_tenants_invoices_are_forbidden(self, call: Caller) -> None:
        for path in ("invoice/globex", "invoice/globex/globex-202503-001", "invoices/globex"):
            assert call("GET", path, who=ALICE).status_code == 403

    def test_what_was_never_issued_is_not_there(self, call: Caller) -> None:
        assert call("GET", "invoice/acme/acme-200001-001").status_code == 404
        assert call("GET", "invoice/acme?period=2999-01").status_code == 404
        assert call.json("GET", "invoices/nobody") == {"invoices": [], "next": None}

    def test_a_plan_that_does_not_exist_is_named(self, call: Caller) -> None:
        call.registry.put("tenants", "lost", Tenant("lost", plan="nope").to_json())
        assert "nope" in call.json("GET", "invoice/lost", status=404)["detail"]
        closed = call.json("POST", "billing/close", json={"period": "2024-06"})
        assert [failure["tenant"] for failure in closed["failed"]] == ["lost"]
        assert "acme" in [invoice["tenant"] for invoice in closed["invoices"]]
        call.registry.delete("tenants", "lost")

    @pytest.mark.parametrize(
        ("accept", "start"), [("text/html", "<!doctype html>"), ("text/csv", "invoice,period"), ("*/*", '{"id"')]
    )
    def test_the_document_comes_as_accepted(self, call: Caller, accept: str, start: str) -> None:
        response = call("GET", "invoice/acme", accept=accept)
        assert response.text.startswith(start)
