"""The function `api` over a real registry and event store, for tests of the API and of what calls it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from eventrunner.source.streams import apply_streams, read_streams
from eventrunner.storage.jetstream import JetStreamApi, connect
from eventrunner.storage.mirror import Mirror
from flask import Flask
from functions_framework import create_app
from support_identity import JWKS
from support_nats import nats_server
from werkzeug.serving import make_server

__all__ = ["api_function", "registry_with_streams", "served_api"]

ROOT = Path(__file__).parents[1]


@contextlib.contextmanager
def api_function(folder: Path, clickhouse_url: str | None = None) -> Iterator[tuple[Flask, Mirror]]:
    """The function's app, and the registry behind it; the event store is `folder / "events.db"`."""
    with nats_server(folder / "nats") as server, pytest.MonkeyPatch.context() as patch:
        asyncio.run(_apply(server.url))
        patch.setenv("EVENTRUNNER_NATS_URL", server.url)
        patch.setenv("EVENTRUNNER_STORE_URL", f"sqlite:///{folder}/events.db")
        if clickhouse_url is not None:
            patch.setenv("EVENTRUNNER_CLICKHOUSE_URL", clickhouse_url)
        patch.setenv("EVENTRUNNER_GATEWAY_JWKS", JWKS)
        patch.setattr("eventrunner.stage.http.configure_logging", lambda *_: None)
        registry = Mirror(server.url, ("tenants", "keys", "plans", "rules"))
        app: Flask = create_app(target="main", source=str(ROOT / "functions" / "api" / "main.py"))
        yield app, registry
        registry.close()


@contextlib.contextmanager
def registry_with_streams(folder: Path) -> Iterator[Mirror]:
    """A registry over the streams and buckets that ship, in a server of its own."""
    with nats_server(folder / "nats") as server:
        asyncio.run(_apply(server.url))
        registry = Mirror(server.url, ("tenants", "rules", "replays"))
        try:
            yield registry
        finally:
            registry.close()


@contextlib.contextmanager
def served_api(folder: Path) -> Iterator[tuple[str, Mirror]]:
    """The same behind a port of its own, for what calls it over HTTP: its URL, and the registry."""
    with api_function(folder) as (app, registry):
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", registry
        server.shutdown()
        thread.join()
        server.server_close()


async def _apply(url: str) -> None:
    client = await connect(url, name="test")
    await apply_streams(JetStreamApi(client), read_streams([ROOT / "knative" / "base" / "streams.yaml"]))
    await client.close()
