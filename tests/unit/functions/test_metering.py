from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from eventrunner.events import Event, encode_batch
from eventrunner.events.costs import Cost
from eventrunner.stage import Outcomes
from eventrunner.storage.analytics import Analytics
from eventrunner.storage.analytics_model import Totals
from flask.testing import FlaskClient
from functions_framework import create_app
from support_clickhouse import ChdbProcess, chdb_process

MAIN = Path(__file__).parents[3] / "functions" / "metering" / "main.py"
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
SINCE, UNTIL = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbProcess]:
    with chdb_process(tmp_path_factory.mktemp("chdb")) as process:
        yield process


@pytest.fixture
def url(server: ChdbProcess, monkeypatch: pytest.MonkeyPatch) -> str:
    url = server.new_url()
    monkeypatch.setenv("EVENTRUNNER_CLICKHOUSE_URL", url)
    monkeypatch.setattr("eventrunner.stage.function.configure_logging", lambda *_: None)
    return url


@pytest.fixture
def client(url: str) -> FlaskClient:
    client: FlaskClient = create_app(target="main", source=str(MAIN)).test_client()
    return client


def event(id: str) -> Event:
    return Event(id=id, source="/s", type="t", tenantid="acme", receivedtime="2026-11-05T00:00:00.000000Z", usagein=100)


def test_what_a_stage_says_of_ended_events_is_metered_once(client: FlaskClient, url: str) -> None:
    outcomes = Outcomes(dropped=[event("1")])
    outcomes.fail(event("2"), 422, "no rule fits")
    reply = outcomes.to_events("event-engine", Cost(cpu=7, memory=3))
    usage = [item for item in reply if item.type == "eventrunner.usage"]
    for _ in range(2):
        assert client.post("/", data=encode_batch(usage), headers=BATCH).status_code == 204
    assert Analytics(url).totals("acme", SINCE, UNTIL) == Totals(2, cpu=14, memory=6, ingress=200)


def test_an_event_that_is_no_usage_record_is_refused_by_name(client: FlaskClient, url: str) -> None:
    response = client.post("/", data=encode_batch([event("1")]), headers=BATCH)
    assert response.status_code == 422
    assert response.get_json(force=True)["errors"][0]["field"] == "events[0]"
