"""Another project's gRPC, in Go, sends events that are stored as they were meant."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import pytest
from eventrunner.cli.go_programs import go_program
from support import require
from support_grpc import grpc_ingest, provision, stored
from support_nats import nats_server

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]


@pytest.mark.parametrize("call", ["stream", "unary", "batch"])
def test_each_call_stores_what_was_sent(call: str, tmp_path: Path) -> None:
    require("go")
    client = go_program("grpc_client", "grpc-client/grpc-client")
    with nats_server(tmp_path / "nats") as nats:
        keys = asyncio.run(provision(nats.url, ["acme"]))
        with grpc_ingest(tmp_path, nats.url) as server:
            command = [str(client), server.address, keys["acme"], call, "1000", "4"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["settled"] == 1000
            refused = subprocess.run([*command[:2], "er_unknown", *command[3:]], capture_output=True, timeout=60)
            assert (refused.returncode, b"Unauthenticated" in refused.stderr) == (1, True)
        events = {event.id: event for event in asyncio.run(stored(nats.url, "acme", 1001))}
    assert set(events) == {"warm-0", *(f"bench-{number}" for number in range(1000))}
    event = events["bench-7"]
    # Text in protobuf that does not say that it is JSON is text.
    data = {"n": 7} if call == "unary" else '{"n":7}'
    assert (event.source, event.type, json.loads(event.json_data or b"")) == ("/go", "bench.one", data)
