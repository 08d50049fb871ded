from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from eventrunner.events import Event, encode_batch
from eventrunner.storage.analytics import Analytics
from flask.testing import FlaskClient
from functions_framework import create_app
from support import free_port
from support_clickhouse import ChdbProcess, chdb_process

MAIN = Path(__file__).parents[3] / "functions" / "analytics" / "main.py"
BATCH = {"Content-Type": "application/cloudevents-batch+json"}


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


def events(count: int) -> list[Event]:
    received = "2026-11-01T00:00:00.000000Z"
    return [Event(id=str(n), source="/s", type="t", tenantid="acme", receivedtime=received) for n in range(count)]


def test_a_batch_is_in_clickhouse_when_it_is_answered(client: FlaskClient, url: str) -> None:
    for _ in range(2):
        response = client.post("/", data=encode_batch(events(500)), headers={**BATCH, "Eventrunner-Count": "500"})
        assert (response.status_code, response.data) == (204, b"")
    assert Analytics(url).count("acme") == 500


def test_a_single_event_is_taken_too(client: FlaskClient, url: str) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-tenantid": "acme"}
    assert client.post("/", data=b"{}", headers={**headers, "Content-Type": "application/json"}).status_code == 204
    assert Analytics(url).count("acme") == 1


@pytest.mark.parametrize("body", [b"[{", b'[{"id": 1}]', b'[{"id":"1","source":"/s","type":"t","usagein":-1}]'])
def test_what_clickhouse_cannot_hold_is_answered_so_that_nobody_tries_again(client: FlaskClient, body: bytes) -> None:
    assert client.post("/", data=body, headers=BATCH).status_code in (400, 422)


def test_while_clickhouse_is_away_the_batch_is_to_come_again(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("EVENTRUNNER_CLICKHOUSE_URL", f"http://127.0.0.1:{free_port()}/eventrunner")
    response = client.post("/", data=encode_batch(events(1)), headers=BATCH)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    monkeypatch.setenv("EVENTRUNNER_CLICKHOUSE_URL", url)
    assert client.post("/", data=encode_batch(events(1)), headers=BATCH).status_code == 204
