"""The function `event_engine` while what it needs is away."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from eventrunner.events import Event, encode_batch
from eventrunner.events.binary import BATCH_TYPE
from flask.testing import FlaskClient
from functions_framework import create_app
from support import free_port

ROOT = Path(__file__).parents[3]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    monkeypatch.setenv("EVENTRUNNER_NATS_URL", f"nats://127.0.0.1:{free_port()}")
    monkeypatch.setattr("eventrunner.stage.function.configure_logging", lambda *_: None)
    client: FlaskClient = create_app(
        target="main", source=str(ROOT / "functions" / "event_engine" / "main.py")
    ).test_client()
    return client


def _post(client: FlaskClient) -> None:
    body = encode_batch([Event(id="1", source="/s", type="t", tenantid="acme")])
    response = client.post("/", data=body, headers={"Content-Type": BATCH_TYPE})
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert response.content_type == "application/problem+json"


def test_a_request_without_the_store_is_to_be_made_again_and_leaves_nothing_open(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTRUNNER_STORE_URL", f"cassandra://127.0.0.1:{free_port()}/k")
    before = {thread.ident for thread in threading.enumerate()}
    _post(client)
    left = [thread.name for thread in threading.enumerate() if thread.ident not in before]
    assert [name for name in left if name == "registry" or "Task" in name or "ThreadPool" in name] == []
