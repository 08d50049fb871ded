from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from eventrunner.cli.streams import command
from eventrunner.errors import ConfigurationError, InvalidInput
from eventrunner.source.streams import Change, apply_streams, parse_stream, read_streams
from eventrunner.storage.jetstream import JetStreamApi, connect
from eventrunner.tenancy import (
    DEADLETTER_STREAM,
    EVENTS_STREAM,
    RAW_STREAM,
    REPLAYS_STREAM,
    RESULTS_STREAM,
    USAGE_STREAM,
)
from support_nats import NatsServer

MANIFEST = Path(__file__).parents[3] / "knative/base/streams.yaml"


OLD = {"AUDIT", "LOGS"}
"""Streams that nobody has to read."""


def stream(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "jetstream.nats.io/v1beta2",
        "kind": "Stream",
        "metadata": {"name": "s"},
        "spec": {"name": "S", "subjects": ["s.>"], "storage": "file", **spec},
    }


def test_what_ships_is_complete_and_never_drops() -> None:
    configs = {spec.name: spec.config for spec in read_streams([MANIFEST])}
    streams = {RAW_STREAM, EVENTS_STREAM, RESULTS_STREAM, USAGE_STREAM, DEADLETTER_STREAM, REPLAYS_STREAM, *OLD}
    buckets = (
        "tenants",
        "keys",
        "plans",
        "rules",
        "consumers",
        "consumer_status",
        "replays",
        "idempotency",
        "key_uses",
        "signing_keys",
        "stops",
    )
    assert set(configs) == streams | {f"KV_{name}" for name in buckets} | {"OBJ_modules"}
    for name, config in configs.items():
        # Of the audit log a tenant's oldest entries go first, after 400 days or by the limit of each tenant; of what a
        # consumer logs its oldest lines.
        assert config["discard"] == ("old" if name in OLD else "new")
        assert config["storage"] == "file"
    assert all(configs[name]["max_bytes"] > 0 for name in streams - OLD)
    # What nobody has read yet must not go because time passes.
    assert all(configs[name]["max_age"] == 0 for name in streams - OLD)
    # What the server reserves must fit on a small disk.
    assert sum(configs[name]["max_bytes"] for name in streams) < 6 * 2**30


async def test_applying_again_changes_nothing_and_a_change_is_an_update(server: NatsServer) -> None:
    client = await connect(server.url, name="test")
    api = JetStreamApi(client)
    specs = read_streams([MANIFEST])
    assert {item.change for item in await apply_streams(api, specs)} == {Change.CREATED}
    assert {item.change for item in await apply_streams(api, specs)} == {Change.UNCHANGED}
    await apply_streams(api, [parse_stream(stream(maxBytes=1000))])
    (changed,) = await apply_streams(api, [parse_stream(stream(maxBytes=2000, duplicateWindow="1m", maxAge="1h"))])
    assert changed.change is Change.UPDATED
    config = (await api.request("STREAM.INFO.S"))["config"]
    assert (config["max_bytes"], config["duplicate_window"], config["max_age"]) == (2000, 60 * 10**9, 3600 * 10**9)
    await client.close()


async def test_what_the_server_refuses_is_a_configuration_error(server: NatsServer) -> None:
    client = await connect(server.url, name="test")
    api = JetStreamApi(client)
    with pytest.raises(ConfigurationError, match="S cannot be made"):
        await apply_streams(api, [parse_stream(stream(maxBytes=2**50))])
    await client.close()


async def test_replicas_can_be_overridden(server: NatsServer) -> None:
    client = await connect(server.url, name="test")
    with pytest.raises(ConfigurationError, match="replicas"):
        await apply_streams(JetStreamApi(client), [parse_stream(stream(replicas=1))], replicas=3)
    await client.close()


def test_every_wrong_field_is_named() -> None:
    wrong = stream(name="a b", retention="none", maxAge="soon", subjects=["a b", 5], replicas=0, mirror={"name": "x"})
    with pytest.raises(InvalidInput) as caught:
        parse_stream(wrong)
    assert {error.field for error in caught.value.fields} == {
        "spec.name",
        "spec.retention",
        "spec.maxAge",
        "spec.subjects[0]",
        "spec.subjects[1]",
        "spec.replicas",
        "spec.mirror",
    }


def test_the_command_tells_what_it_did(server: NatsServer) -> None:
    arguments = ["apply", "-f", str(MANIFEST), "--nats", server.url]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0
    assert "RAW              created" in result.output
    again = CliRunner().invoke(command, [*arguments, "--json"])
    assert '{"name": "RAW", "change": "unchanged"}' in again.output
