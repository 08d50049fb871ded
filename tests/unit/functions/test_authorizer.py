"""The authorizer as Oathkeeper asks it: the function in a process of its own, a real NATS, a real OPA."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
from aiohttp import web
from eventrunner.access.identity import Identity
from eventrunner.access.keys import hash_key
from eventrunner.access.policy import question
from eventrunner.storage.records import Key
from eventrunner.storage.registry import Registry
from support_grpc import provision
from support_nats import NatsServer, eventually, free_port, nats_server

_ROOT = Path(__file__).parents[3]


class Authorizer:
    def __init__(
        self, session: aiohttp.ClientSession, url: str, log: Path, keys: dict[str, str] | None = None, nats: str = ""
    ) -> None:
        self._session = session
        self.url = url
        self.keys = keys or {}
        self.log = log
        self.nats = nats

    async def decide(self, document: object) -> tuple[int, str]:
        """Status and Retry-After."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        headers = {"Authorization": "Bearer er_secret-of-the-client"}
        async with self._session.post(f"{self.url}/v1/decision", data=body, headers=headers) as response:
            return response.status, response.headers.get("Retry-After", "")

    async def key(self, **headers: str) -> tuple[int, Any]:
        async with self._session.get(f"{self.url}/v1/key", headers=headers) as response:
            return response.status, await response.json(content_type=None)

    async def metrics(self) -> str:
        async with self._session.get(f"{self.url}/metrics") as response:
            return await response.text()

    async def is_up(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with self._session.get(f"{self.url}/healthz") as response:
                return response.status == 200
        return False


@contextlib.contextmanager
def _function(folder: Path, **settings: str) -> Iterator[str]:
    port = free_port()
    command = [
        *(sys.executable, "-m", "eventrunner.local.function_process", "--target=main", "--asgi", "--host=127.0.0.1"),
        *(f"--source={_ROOT}/functions/authorizer/main.py", f"--port={port}"),
    ]
    env = os.environ | {"TMPDIR": str(folder), **settings}
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=env, stdout=log, stderr=log) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _run(folder: Path, test: Callable[[Authorizer], Awaitable[None]], **more: str) -> None:
    async def body(nats: NatsServer) -> None:
        keys = await provision(nats.url, ["acme", "globex"])
        with _function(folder, EVENTRUNNER_NATS_URL=nats.url, **more) as url:
            async with aiohttp.ClientSession() as session:
                authorizer = Authorizer(session, url, folder / "log", keys, nats.url)
                await eventually(authorizer.is_up)
                await test(authorizer)

    with nats_server(folder / "nats") as nats:
        asyncio.run(asyncio.wait_for(body(nats), 60))


def _ask(role: str, resource: str, action: str, tenant: str = "acme", own: str = "acme") -> dict[str, Any]:
    return question(Identity("alice", own, (role,)), resource, action, tenant)


def test_the_policy_is_answered_by_status(tmp_path: Path) -> None:
    async def test(authorizer: Authorizer) -> None:
        assert await authorizer.decide(_ask("user", "events", "list")) == (200, "")
        assert await authorizer.decide(_ask("user", "events", "list", "globex")) == (403, "")
        assert await authorizer.decide(_ask("admin", "tenants", "put", "globex", "")) == (200, "")
        for hostile in (b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 20_000, b'{"subject": 1}', b"{}", b"{" * 9):
            assert (await authorizer.decide(hostile))[0] == 403
        assert (await authorizer.decide(b"x" * 100_000))[0] in (403, 413)

    _run(tmp_path, test)


def test_a_key_names_its_holder(tmp_path: Path) -> None:
    async def test(authorizer: Authorizer) -> None:
        key = authorizer.keys["acme"]
        status, answer = await authorizer.key(Authorization=f"Bearer {key}")
        assert (status, answer["extra"]) == (200, {"tenant": "acme", "roles": ["event_publisher"]})
        assert await authorizer.key(**{"X-Api-Key": key}) == (200, answer)
        for headers in ({}, {"Authorization": "Bearer er_no"}, {"X-Api-Key": "no"}, {"Authorization": key}):
            assert (await authorizer.key(**headers))[0] == 401

    _run(tmp_path, test)


def test_every_decision_is_logged_at_debug_without_secrets(tmp_path: Path) -> None:
    async def test(authorizer: Authorizer) -> None:
        await authorizer.decide(_ask("user", "rules", "put"))
        await authorizer.decide(_ask("user", "rules", "put", "globex"))
        await authorizer.key(Authorization=f"Bearer {authorizer.keys['acme']}")
        text = authorizer.log.read_text()
        lines = [json.loads(line) for line in text.splitlines() if '"eventrunner.decisions"' in line]
        decisions = [json.loads(line["message"]) for line in lines]
        assert [(item["subject"], item["tenant"], item["answer"], item["why"]) for item in decisions] == [
            ("alice", "acme", "allowed", "the policy allows it"),
            ("alice", "globex", "denied", "the policy does not allow it"),
        ]
        assert all(item["ms"] >= 0 for item in decisions)
        assert "secret-of-the-client" not in text
        assert authorizer.keys["acme"] not in text

    _run(tmp_path, test, EVENTRUNNER_LOG_LEVEL="debug")


def test_why_something_was_denied_is_logged_and_both_answers_are_counted(tmp_path: Path) -> None:
    async def test(authorizer: Authorizer) -> None:
        await authorizer.decide(_ask("user", "rules", "put"))
        await authorizer.decide(_ask("user", "rules", "put", "globex"))
        await authorizer.decide(b"[]")
        lines = authorizer.log.read_text().splitlines()
        decisions = [json.loads(json.loads(line)["message"]) for line in lines if '"eventrunner.decisions"' in line]
        assert [item["why"] for item in decisions] == [
            "the policy does not allow it",
            "what was asked is no question",
        ]
        counted = await authorizer.metrics()
        assert 'eventrunner_decisions_total{answer="allowed"} 1.0' in counted
        assert 'eventrunner_decisions_total{answer="denied"} 2.0' in counted

    _run(tmp_path, test)


def test_who_is_not_known_is_logged_with_the_reason_and_never_with_the_key(tmp_path: Path) -> None:
    async def test(authorizer: Authorizer) -> None:
        key, unknown = authorizer.keys["acme"], "er_" + "a" * 40
        registry = await Registry.connect(authorizer.nats)
        record = Key.from_json(await registry.get("keys", hash_key(key)) or b"")
        record.expires = 1.0
        await registry.put("keys", record.hash, record.to_json())
        await eventually(lambda: _is_refused(authorizer, key))
        await authorizer.key(**{"X-Api-Key": unknown})
        await authorizer.key()
        await registry.close()
        text = authorizer.log.read_text()
        lines = [json.loads(line) for line in text.splitlines() if '"eventrunner.decisions"' in line]
        found = [json.loads(line["message"]) for line in lines]
        assert all(line["level"].lower() == "info" for line in lines)
        assert [(item["key"], item["answer"], item["why"].partition(",")[0]) for item in found] == [
            (record.id, "denied", "The API key was rotated"),
            ("", "denied", "The API key is not known."),
            ("", "denied", "Send an API key or a token: Authorization: Bearer <key>"),
        ]
        assert key not in text
        assert unknown not in text
        assert 'eventrunner_decisions_total{answer="denied"} 0.0' in await authorizer.metrics()

    _run(tmp_path, test)


async def _is_refused(authorizer: Authorizer, key: str) -> bool:
    return (await authorizer.key(Authorization=f"Bearer {key}"))[0] == 401


@contextlib.asynccontextmanager
async def _opa(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/data/eventrunner/authz/allow", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1/data/eventrunner/authz/allow"
    finally:
        await runner.cleanup()


def test_whatever_opa_does_but_say_true_is_a_no_in_time(tmp_path: Path) -> None:
    answers: dict[str, Callable[[], web.Response]] = {
        "true": lambda: web.json_response({"result": True}),
        "false": lambda: web.json_response({"result": False}),
        "undefined": lambda: web.json_response({}),
        "text": lambda: web.json_response({"result": "true"}),
        "one": lambda: web.json_response({"result": 1}),
        "list": lambda: web.json_response([True]),
        "garbage": lambda: web.Response(text="<html>"),
        "error": lambda: web.json_response({"result": True}, status=500),
        "redirect": lambda: web.Response(status=307, headers={"Location": "/"}),
    }

    async def body() -> None:
        async def answer(request: web.Request) -> web.Response:
            asked = (await request.json())["input"]["resource"]
            if asked == "hang":
                await asyncio.sleep(5)
            return answers[asked]()

        async with _opa(answer) as url:
            with _function(tmp_path, EVENTRUNNER_OPA_URL=url, EVENTRUNNER_NATS_URL="nats://127.0.0.1:1") as own:
                async with aiohttp.ClientSession() as session:
                    authorizer = Authorizer(session, own, tmp_path / "log")
                    await eventually(authorizer.is_up)
                    for name in answers:
                        status = (await authorizer.decide(_ask("user", name, "list")))[0]
                        assert (name, status) == (name, 200 if name == "true" else 403)
                    started = time.monotonic()
                    assert (await authorizer.decide(_ask("user", "hang", "list")))[0] == 403
                    assert time.monotonic() - started < 2

    asyncio.run(asyncio.wait_for(body(), 60))


def test_a_decision_is_quick(tmp_path: Path) -> None:
    async def test(authorizer: Authorizer) -> None:
        for number in range(200):
            await authorizer.decide(_ask("user", "events", "list", f"t{number}", f"t{number}"))
        text = authorizer.log.read_text()
        lines = [json.loads(line) for line in text.splitlines() if '"eventrunner.decisions"' in line]
        # Its own time, as it logs it: 1.5 ms is what is promised, on an idle machine.
        assert len(lines) == 200
        assert median(json.loads(line["message"])["ms"] for line in lines) < 15

    _run(tmp_path, test, EVENTRUNNER_LOG_LEVEL="debug")
