"""Code that got out of the engine has what its process has: the token of its last batch, and the desk's address. What
it can do with them, over a real nats-server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from eventrunner.access.identity import make_keys
from eventrunner.access.senders import SourceSigner
from eventrunner.storage.consumer_logs import log_subject
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.modules import ModuleStore, module_name
from eventrunner.storage.records import CONSUMERS, KEYS, SIGNING_KEYS, Consumer, StoredModule, tenant_key
from support_consumers import KEY_SET, SIGNER, audience, consumer_desk
from support_nats import NatsServer, nats_server
from support_source import Lab, open_lab
from yarl import URL

OWN, OTHERS = b"\0asm own", b"\0asm others"


@dataclass
class Escaped:
    """From acme's consumer `test`."""

    lab: Lab
    url: str
    session: aiohttp.ClientSession

    async def ask(self, path: str, *, method: str = "GET", body: bytes = b"", token: str = "") -> tuple[int, bytes]:
        headers = {"Authorization": token or SIGNER.header(audience("acme", "test"))}
        url = URL(f"{self.url}{path}", encoded=True)
        async with self.session.request(method, url, data=body or None, headers=headers) as answer:
            return answer.status, await answer.read()

    async def messages(self) -> dict[str, int]:
        """Of every stream and bucket."""
        streams = (await self.lab.api.request("STREAM.LIST"))["streams"]
        return {item["config"]["name"]: item["state"]["last_seq"] for item in streams}


def _deploy(url: str) -> None:
    mirror = Mirror(url, (CONSUMERS, SIGNING_KEYS, KEYS))
    try:
        for tenant, name, code in (("acme", "test", OWN), ("acme", "second", OTHERS), ("globex", "test", OTHERS)):
            ModuleStore(mirror).keep(code)
            module = StoredModule(module_name(code), len(code), "component", [], [])
            mirror.put(CONSUMERS, tenant_key(tenant, name), Consumer(tenant, name, module=module).to_json())
            mirror.put(SIGNING_KEYS, tenant_key(tenant, "key"), f"{tenant}'s".encode())
        mirror.put(SIGNING_KEYS, tenant_key("acme", "revoked"), b"gone")
        mirror.purge(SIGNING_KEYS, tenant_key("acme", "revoked"))
    finally:
        mirror.close()


@asynccontextmanager
async def escaped(server: NatsServer) -> AsyncIterator[Escaped]:
    async with open_lab(server) as lab, consumer_desk(server.url) as url, aiohttp.ClientSession() as session:
        await asyncio.to_thread(_deploy, server.url)
        yield Escaped(lab, url, session)


@pytest.fixture
def server(tmp_path: Path) -> Any:
    with nats_server(tmp_path / "nats") as running:
        yield running


def test_it_gets_its_own_record_keys_and_module_and_may_log(server: NatsServer) -> None:
    async def scenario() -> None:
        async with escaped(server) as guest:
            status, body = await guest.ask("/consumers/acme/test")
            state = json.loads(body)
            assert (status, sorted(state["keys"])) == (200, ["acme.key"])
            assert await guest.ask(f"/consumers/acme/test/modules/{module_name(OWN)}") == (200, OWN)
            assert (await guest.ask("/consumers/acme/test/logs", method="POST", body=b"one\n\ntwo"))[0] == 204
            assert [message.subject for message in await guest.lab.stored("LOGS")] == [log_subject("acme", "test")] * 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/consumers/globex/test", 401),
        ("/consumers/acme/second", 401),
        ("/consumers/acme/*", 401),
        ("/consumers/*/test", 401),
        ("/consumers/%61cme/test", 401),
        ("/consumers/acme/test%2F..%2Fsecond", 401),
        (f"/consumers/globex/test/modules/{module_name(OTHERS)}", 401),
        # Its own name, another's module.
        (f"/consumers/acme/test/modules/{module_name(OTHERS)}", 404),
        ("/consumers/acme/test/modules/*", 404),
        ("/consumers/acme/test/../../globex/test", 404),
        ("/consumers/acme/test/logs", 404),
        ("/", 404),
    ],
)
def test_it_reads_nothing_else(server: NatsServer, path: str, status: int) -> None:
    async def scenario() -> None:
        async with escaped(server) as guest:
            found, body = await guest.ask(path)
            assert found == status
            assert OTHERS not in body

    asyncio.run(scenario())


def test_it_writes_nothing_but_its_own_log(server: NatsServer) -> None:
    async def scenario() -> None:
        async with escaped(server) as guest:
            before = await guest.messages()
            for method in ("PUT", "POST", "DELETE", "PATCH"):
                for path in (
                    "/consumers/acme/test",
                    "/consumers/globex/test",
                    f"/consumers/acme/test/modules/{'0' * 64}",
                ):
                    assert (await guest.ask(path, method=method, body=b"{}"))[0] in (401, 404)
            for path in ("/consumers/globex/test/logs", "/consumers/acme/second/logs", "/consumers/acme/>/logs"):
                assert (await guest.ask(path, method="POST", body=b"forged"))[0] == 401
            # Lines that would be protocol, were they not counted.
            lines = b"x\r\nPUB events.globex 1\r\nx\n" + b"y" * 9000
            assert (await guest.ask("/consumers/acme/test/logs", method="POST", body=lines))[0] == 204
            after = await guest.messages()
            assert after.pop("LOGS") == before.pop("LOGS") + 3
            assert after == before

    asyncio.run(scenario())


def test_only_a_living_token_of_this_platforms_for_this_consumer_is_believed(server: NatsServer) -> None:
    async def scenario() -> None:
        then = datetime.now(UTC) - timedelta(minutes=10)
        own = audience("acme", "test")
        tokens = [
            "Bearer nothing",
            SourceSigner(make_keys("source")).header(own),
            SIGNER.header(audience("acme", "second")),
            SIGNER.header("serving.knative.dev/service/eventrunner/event-engine"),
        ]
        async with escaped(server) as guest:
            for token in tokens:
                assert (await guest.ask("/consumers/acme/test", token=token))[0] == 401
            old = SourceSigner(KEY_SET, clock=lambda: then)
            assert (await guest.ask("/consumers/acme/test", token=old.header(own)))[0] == 401
            assert (await guest.ask("/consumers/acme/test", token=SourceSigner(KEY_SET).header(own)))[0] == 200

    asyncio.run(scenario())
