"""Tenants' consumers on this machine: what the registry says becomes a service, a source and a status. The function is
a small one of the test's own; functions-framework, nats-server and the adapter are real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eventrunner.access.identity import make_keys
from eventrunner.access.senders import SourceSigner
from eventrunner.local.activator import Activator
from eventrunner.local.consumer import ConsumerHost
from eventrunner.local.consumer_status import StatusBoard
from eventrunner.local.consumers import Consumers
from eventrunner.local.functions import FunctionLauncher
from eventrunner.local.manifests import load_manifests
from eventrunner.local.project import Project
from eventrunner.local.revision import Limits
from eventrunner.local.sinks import SharedSink
from eventrunner.local.upstream import new_probe_session
from eventrunner.source.adapter import Adapter
from eventrunner.source.tenant_consumers import kubernetes_name, read_template
from eventrunner.storage.records import (
    CONSUMER_STATUS,
    CONSUMERS,
    SIGNING_KEYS,
    Consumer,
    ConsumerStatus,
    StoredModule,
    tenant_key,
)
from eventrunner.storage.registry import Registry
from support_nats import NatsServer, eventually, nats_server
from support_source import Lab, event, open_lab

from tests.unit.local.support import ECHO, is_alive, make_project, run

TEMPLATE = Path(__file__).parents[3] / "knative" / "templates" / "tenant-consumer.yaml"

FUNCTION = """
import json, os
from pathlib import Path
log = Path(__file__).with_name("calls")
def main(request):
    if request.path == "/healthz":
        return "ok"
    events = json.loads(request.get_data())
    consumer = os.environ["EVENTRUNNER_CONSUMER"]
    problem = Path(__file__).with_name("problem-" + consumer.replace("/", "."))
    with log.open("a") as file:
        call = {"consumer": consumer, "ids": [item["id"] for item in events], "pid": os.getpid(),
                "signed": "Authorization" in request.headers, "environment": sorted(os.environ)}
        file.write(json.dumps(call) + chr(10))
    if problem.exists():
        return json.dumps({"detail": problem.read_text()}), 503, {"Content-Type": "application/problem+json"}
    if not events:
        return "", 204
    return json.dumps([event | {"id": event["id"] + "." + consumer, "type": "made"} for event in events]), 200, {
        "Content-Type": "application/cloudevents-batch+json"}
"""


@dataclass
class Machine:
    lab: Lab
    project: Project
    activator: Activator
    registry: Registry
    folder: Path

    async def put(self, name: str, *, tenant: str = "acme", version: int = 1, signed_by: str = "") -> None:
        record = Consumer(
            tenant,
            name,
            f"{tenant}={name}",
            StoredModule("0" * 64, 1, "component", [], []),
            signed_by=signed_by,
            created="2026-11-29T10:00:00.000000Z",
            updated=f"2026-11-29T10:00:0{version}.000000Z",
        )
        await self.registry.put(CONSUMERS, tenant_key(tenant, name), record.to_json())

    async def remove(self, name: str, tenant: str = "acme") -> None:
        await self.registry.purge(CONSUMERS, tenant_key(tenant, name))

    async def status(self, name: str, tenant: str = "acme") -> ConsumerStatus | None:
        value = await self.registry.get(CONSUMER_STATUS, tenant_key(tenant, name))
        return ConsumerStatus.from_json(value) if value else None

    async def until(self, name: str, state: str, tenant: str = "acme") -> ConsumerStatus:
        async def is_so() -> bool:
            status = await self.status(name, tenant)
            return status is not None and status.state == state

        await eventually(is_so, 30)
        status = await self.status(name, tenant)
        assert status is not None
        return status

    @property
    def calls(self) -> list[dict[str, Any]]:
        path = self.project.root / "functions" / "tenant_consumer" / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def handled(self, consumer: str) -> list[str]:
        return sorted(id for call in self.calls if call["consumer"] == consumer for id in call["ids"])

    def break_module(self, consumer: str, reason: str) -> Path:
        path = self.project.root / "functions" / "tenant_consumer" / f"problem-{consumer.replace('/', '.')}"
        path.write_text(reason)
        return path

    def processes(self, name: str, tenant: str = "acme") -> int:
        revision = self.activator.revisions.get(kubernetes_name(tenant, name))
        return len(revision.replicas) if revision is not None else 0

    async def durables(self, stream: str = "RESULTS") -> list[str]:
        return (await self.lab.api.request(f"CONSUMER.NAMES.{stream}")).get("consumers") or []


@pytest.fixture
def server(tmp_path: Path) -> Any:
    with nats_server(tmp_path / "nats") as running:
        yield running


def make_machine_project(root: Path) -> Project:
    project = make_project(root, {"echo": ECHO, "tenant-consumer": FUNCTION})
    (project.manifests / "tenant-consumer.yaml").unlink()
    config = "{apiVersion: v1, kind: ConfigMap, metadata: {name: eventrunner-consumer-settings}}"
    (project.manifests / "settings.yaml").write_text(config)
    project.consumer_template.parent.mkdir()
    project.consumer_template.write_text(TEMPLATE.read_text().replace("window: 30s", "window: 2s"))
    return project


@contextlib.asynccontextmanager
async def machine(server: NatsServer, root: Path, project: Project | None = None) -> AsyncIterator[Machine]:
    """What the platform does with consumers, and an adapter that follows the folder."""
    project = project or make_machine_project(root)
    folder = root / "sources"
    folder.mkdir(exist_ok=True)
    settings = load_manifests(project.manifests).settings
    async with open_lab(server) as lab, new_probe_session() as session:
        registry = await Registry.connect(server.url)
        activator = Activator([], FunctionLauncher(project, {}, root / "logs", session), Limits())
        sink = SharedSink(activator, lambda *answer: consumers.answered(*answer))
        await sink.start()
        host = ConsumerHost(
            api=lab.api,
            activator=activator,
            sink=sink,
            launcher=FunctionLauncher(project, {"A": "b"}, root / "logs", session, runs_tenants_code=True),
            limits=Limits(replicas=1),
            template=read_template(project.consumer_template),
            settings=settings,
            folder=folder,
            signer=SourceSigner(make_keys("1")),
            board=StatusBoard(registry),
        )
        consumers = Consumers(registry, host)
        await consumers.start()
        stopping = asyncio.Event()
        adapter = asyncio.create_task(Adapter([], server.url, watch=folder).run(stopping))
        try:
            yield Machine(lab, project, activator, registry, folder)
        finally:
            stopping.set()
            await adapter
            await consumers.close()
            await sink.close()
            await activator.close()
            await registry.close()


def test_a_deployed_consumer_is_tried_once_gets_its_tenants_events_and_goes_to_zero(
    server: NatsServer, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with machine(server, tmp_path) as platform:
            await platform.put("alerts")
            await platform.until("alerts", "ready")
            # The module was loaded before any event came, by a sender that can be told.
            assert [(call["ids"], call["signed"]) for call in platform.calls] == [([], True)]
            await platform.lab.publish(event("1"), "results.acme")
            await platform.lab.publish(event("2", "other"), "results.other")
            await eventually(lambda: platform.handled("acme/alerts") == ["1"])
            await eventually(lambda: published(platform, "1.acme/alerts"))
            await eventually(lambda: platform.processes("alerts") == 0, 20)
            await eventually(lambda: has_replicas(platform, "alerts", 0))
            await platform.lab.publish(event("3"), "results.acme")
            await eventually(lambda: platform.handled("acme/alerts") == ["1", "3"])

    run(scenario())


async def has_replicas(platform: Machine, name: str, number: int) -> bool:
    status = await platform.status(name)
    return status is not None and (status.state, status.replicas) == ("ready", number)


async def published(platform: Machine, id: str) -> bool:
    return id in await platform.lab.ids("EVENTS")


def test_a_module_that_cannot_be_run_is_said_with_its_reason_and_goes_on_by_itself_when_it_can(
    server: NatsServer, tmp_path: Path
) -> None:
    async def scenario() -> None:
        project = make_machine_project(tmp_path)
        problem = project.root / "functions" / "tenant_consumer" / "problem-acme.alerts"
        problem.write_text("it does not compile")
        async with machine(server, tmp_path, project) as platform:
            await platform.put("alerts")
            assert (await platform.until("alerts", "failed")).detail == "it does not compile"
            await platform.lab.publish(event("1"), "results.acme")
            problem.unlink()
            await platform.until("alerts", "ready")
            await eventually(lambda: published(platform, "1.acme/alerts"))

    run(scenario())


def test_a_new_upload_is_tried_again(server: NatsServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with machine(server, tmp_path) as platform:
            await platform.put("alerts")
            await platform.until("alerts", "ready")
            platform.break_module("acme/alerts", "revoked")
            await platform.put("alerts", version=2)
            status = await platform.until("alerts", "failed")
            assert (status.detail, status.of) == ("revoked", "2026-11-29T10:00:02.000000Z")

    run(scenario())


def test_what_a_revoked_key_has_signed_is_tried_again_and_once_more_when_the_key_is_back(
    server: NatsServer, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with machine(server, tmp_path) as platform:
            await platform.registry.put(SIGNING_KEYS, "acme.key", b"{}")
            for name in ("alerts", "other"):
                await platform.put(name, signed_by="key" if name == "alerts" else "another")
                await platform.until(name, "ready")
            problem = platform.break_module("acme/alerts", "its key is gone")
            await platform.registry.purge(SIGNING_KEYS, "acme.key")
            assert (await platform.until("alerts", "failed")).detail == "its key is gone"
            assert [call["consumer"] for call in platform.calls].count("acme/other") == 1
            problem.unlink()
            await platform.registry.put(SIGNING_KEYS, "acme.key", b"{}")
            await platform.until("alerts", "ready")

    run(scenario())


def test_a_removed_consumer_leaves_nothing_behind_and_the_others_go_on(server: NatsServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with machine(server, tmp_path) as platform:
            for name in ("alerts", "other"):
                await platform.put(name)
                await platform.until(name, "ready")
            assert sorted(await platform.durables()) == ["acme=alerts", "acme=other"]
            pids = {call["pid"] for call in platform.calls if call["consumer"] == "acme/alerts"}
            await platform.remove("alerts")
            await eventually(lambda: only_other(platform))
            assert await platform.status("alerts") is None
            assert [path.name for path in platform.folder.iterdir()] == [kubernetes_name("acme", "other") + ".yaml"]
            await eventually(lambda: not any(map(is_alive, pids)))
            await platform.lab.publish(event("1"), "results.acme")
            await eventually(lambda: platform.handled("acme/other") == ["1"])
            assert platform.handled("acme/alerts") == []

    run(scenario())


async def only_other(platform: Machine) -> bool:
    return await platform.durables() == ["acme=other"] and await platform.status("alerts") is None


def test_one_of_the_same_name_gets_nothing_that_came_before_it(server: NatsServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with machine(server, tmp_path) as platform:
            # What a platform leaves that is killed while one of the same name is removed.
            config = {"name": "acme=alerts", "durable_name": "acme=alerts", "ack_policy": "explicit"}
            await platform.lab.api.request(
                "CONSUMER.CREATE.RESULTS.acme=alerts", {"stream_name": "RESULTS", "config": config}
            )
            await platform.put("alerts")
            await platform.until("alerts", "ready")
            info = await platform.lab.api.request("CONSUMER.INFO.RESULTS.acme=alerts")
            assert info["config"]["opt_start_time"] == "2026-11-29T10:00:00Z"

    run(scenario())


def test_what_was_removed_while_nothing_ran_is_swept_up_and_what_is_there_runs_on(
    server: NatsServer, tmp_path: Path
) -> None:
    async def scenario() -> None:
        project = make_machine_project(tmp_path)
        async with machine(server, tmp_path, project) as platform:
            for name in ("alerts", "other"):
                await platform.put(name)
                await platform.until(name, "ready")
        async with open_lab(server) as lab:
            registry = Registry(lab.client)
            await registry.purge(CONSUMERS, "acme.alerts")
        async with machine(server, tmp_path, project) as platform:
            calls = len(platform.calls)
            await eventually(lambda: only_other(platform))
            await platform.lab.publish(event("1"), "results.acme")
            await eventually(lambda: platform.handled("acme/other") == ["1"])
            # It was tried before and has not changed.
            assert [call["ids"] for call in platform.calls[calls:]] == [["1"]]

    run(scenario())


def test_a_record_that_cannot_be_read_or_has_no_module_is_not_run(server: NatsServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with machine(server, tmp_path) as platform:
            await platform.registry.put(CONSUMERS, "acme.broken", b"{")
            await platform.registry.put(CONSUMERS, "acme.own", Consumer("acme", "own", "acme=own").to_json())
            await platform.put("alerts")
            await platform.until("alerts", "ready")
            assert [path.stem for path in platform.folder.iterdir()] == [kubernetes_name("acme", "alerts")]

    run(scenario())


def test_its_process_knows_no_secrets_and_gives_way_to_others(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "secret")

    async def scenario() -> None:
        async with machine(server, tmp_path) as platform:
            await platform.put("alerts")
            await platform.until("alerts", "ready")
            (call,) = platform.calls
            assert "SOME_TOKEN" not in call["environment"]
            assert {"A", "PATH", "EVENTRUNNER_CONSUMER"} <= set(call["environment"])
            assert os.getpriority(os.PRIO_PROCESS, call["pid"]) == 5
            assert _autogroup(call["pid"]).endswith("nice 5")

    run(scenario())


def _autogroup(pid: int) -> str:
    """What Linux says of it, where it has such groups."""
    path = Path(f"/proc/{pid}/autogroup")
    return path.read_text().strip() if path.exists() else "nice 5"
