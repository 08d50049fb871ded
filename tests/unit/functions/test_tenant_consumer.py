"""The function `tenant_consumer` as it is deployed: a process of its own, fed by the adapter from a real stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from eventrunner.errors import ConfigurationError
from eventrunner.handlers.consumer_start import make_consumer
from eventrunner.settings import Settings
from eventrunner.storage.records import Limits, Subscription
from support_consumers import SIGNER, ConsumerFunction, audience, consumer_function, deploy, revoke
from support_guests import component_guest, require_toolchain
from support_nats import NatsServer, eventually, nats_server
from support_source import Lab, event, open_lab

SOURCE: dict[str, Any] = {
    "stream": "RESULTS",
    "filterSubject": "results.acme",
    "consumer": "acme=test",
    "reply": {"subject": "events.{tenantid}"},
    "usage": {"subject": "usage.{tenantid}"},
    "deadLetter": {"subject": "deadletter.test.{tenantid}"},
}


@pytest.fixture(autouse=True)
def _toolchain() -> None:
    require_toolchain()


async def _usage(lab: Lab) -> list[tuple[str, str]]:
    records = [item["data"] for item in await lab.events("USAGE")]
    return sorted((record["subject_id"], record["kind"]) for record in records)


async def _journey(server: NatsServer, folder: Path) -> None:
    async with open_lab(server) as lab, consumer_function(server.url, folder) as function:
        status, text, headers = await function.post(b"[]")
        assert (status, "Retry-After" in headers) == (503, True)
        assert "no consumer acme/test" in json.loads(text)["detail"]
        await asyncio.to_thread(deploy, server.url, b"\0asm\1\0\0\0\0\x02\1x")
        await eventually(lambda: _says(function, 503, "cannot run"))
        await asyncio.to_thread(deploy, server.url, component_guest())
        await eventually(lambda: _says(function, 204, ""))
        lab.sink.port = int(function.url.rpartition(":")[2].strip("/"))
        await _handle_events(lab)
        await _change_limits(server, lab, function)
        await asyncio.to_thread(revoke, server.url)
        await eventually(lambda: _says(function, 503, "signed"))


async def _says(function: ConsumerFunction, status: int, text: str) -> bool:
    """Whether that is its answer to an empty batch."""
    found = await function.post(b"[]")
    return found[0] == status and text in found[1]


def _adapter(lab: Lab, **spec: Any) -> contextlib.AbstractAsyncContextManager[object]:
    """One that signs what it sends."""
    return lab.adapter(signer=SIGNER, audience=audience("acme", "test"), **spec)


async def _handle_events(lab: Lab) -> None:
    await lab.publish([event(1, type="echo"), event(2, type="refuse"), event(3, type="log")], "results.acme")
    await lab.publish(event(4, "globex", type="echo"), "results.globex")
    async with _adapter(lab, **SOURCE):
        await eventually(lambda: lab.is_done("RESULTS", "acme=test"), 20)
    (made,) = await lab.events("EVENTS")
    assert (made["causeid"], made["causeconsumer"], made["type"], made["tenantid"]) == ("1", "test", "echo", "acme")
    (letter,) = await lab.stored("DEADLETTER")
    assert letter.subject == "deadletter.test.acme"
    assert [(item["id"], item["knativeerrorcode"], item["knativeerrorattempts"]) for item in letter.events] == [
        ("2", 422, 3)
    ]
    assert await _usage(lab) == [("1", "handled"), ("2", "failed"), ("3", "handled")]


async def _change_limits(server: NatsServer, lab: Lab, function: ConsumerFunction) -> None:
    """What is changed in the registry is in force without a restart, within a second or when the function is asked."""
    settings = {"limits": Limits(fuel=10**11, milliseconds=20), "subscription": Subscription(ordered=True)}
    await asyncio.to_thread(deploy, server.url, component_guest(), **settings)
    assert await _says(function, 204, "")
    await lab.publish([event("loop", type="loop"), event("after", type="echo")], "results.acme")
    async with _adapter(lab, **SOURCE, ordering="ByTenant"):
        await eventually(lambda: lab.is_done("RESULTS", "acme=test"), 20)
    reasons = {item["id"]: item["knativeerrordata"] for item in await lab.events("DEADLETTER")}
    assert reasons["loop"] == "over the limit milliseconds = 20"
    assert [item["causeid"] for item in await lab.events("EVENTS")] == ["1", "after"]


def test_a_consumer_from_its_deployment_to_its_dead_letters(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats") as server:
        asyncio.run(_journey(server, tmp_path))


def test_a_process_without_a_consumer_says_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match="EVENTRUNNER_CONSUMER"):
        make_consumer(Settings(consumer="acme"), Path())
    with pytest.raises(ConfigurationError, match="EVENTRUNNER_CONSUMER_DESK_URL"):
        make_consumer(Settings(consumer="acme/test"), Path())
