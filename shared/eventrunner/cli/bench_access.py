"""The front door alone, with nothing behind RAW: ingest over HTTP through the gateway and over gRPC, the authorizer."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from rich.console import Console
from rich.table import Table

from eventrunner.cli.connection import Api, Connection
from eventrunner.cli.go_programs import go_program
from eventrunner.cli.platform_process import RunningPlatform, running_platform
from eventrunner.cli.processes import cpu_by_part, sample_tree
from eventrunner.cli.provision import provision
from eventrunner.cli.sender import Batch, Sender
from eventrunner.cli.watch import percentile
from eventrunner.errors import Unavailable
from eventrunner.local.functions import FunctionLauncher
from eventrunner.local.manifests import load_manifests
from eventrunner.local.ports import HOST, free_port, is_listening
from eventrunner.local.project import find_project
from eventrunner.local.upstream import new_probe_session

__all__ = ["AuthorizerFigures", "DoorFigures", "access_table", "measure_access"]

_TENANT: Final = "bench"
_HTTP: Final = (300_000, 500, 4)
"""Events, in batches of, over connections."""
_GRPC: Final = {"stream": (90_000, 1), "unary": (9_000, 32), "batch": (300_000, 4)}
"""Call of the Go client → (events, calls at once); a batch has 500 events."""
_ASKED: Final = {"stream": 30_000, "unary": 3_000, "HTTP batches of 500": 40_000}
_DECISIONS: Final = 2_000
_ASKED_MS: Final = 1.5
_CLIENT_SECONDS: Final = 150
_START_SECONDS: Final = 60.0


@dataclass(slots=True)
class DoorFigures:
    call: str
    asked: int | None
    """Events/s."""
    events_per_second: float
    """Accepted."""
    server_cpu: float
    """µs an event of the function."""
    client_cpu: float | None
    """µs an event; None for a client in the process that measures."""


@dataclass(slots=True)
class AuthorizerFigures:
    engine: str
    asked: float
    """p50 of its own time, ms."""
    own_p50: float
    own_p99: float
    """ms from the question to the answer within the function, as it logs them."""
    call_p50: float
    call_p99: float
    """ms as a client on one connection sees them."""


class _Report(msgspec.Struct):
    seconds: float
    client_cpu: float
    settled: int


def measure_access(folder: Path, console: Console) -> tuple[list[DoorFigures], list[AuthorizerFigures]]:
    """Says what cannot be measured here. Raises Unavailable."""
    folder.mkdir(parents=True, exist_ok=True)
    with running_platform(folder / "data", arguments=["--manifests", str(_doors_only(folder))]) as platform:
        key = asyncio.run(_provision(platform))
        console.print("ingest over HTTP …")
        doors = [asyncio.run(_http(platform, key))]
        try:
            client = go_program("grpc_client", "grpc-client/grpc-client")
            console.print("ingest over gRPC …")
            doors += [_grpc(platform, client, key, call) for call in _GRPC]
        except Unavailable as error:
            console.print(f"no gRPC: {error}")
    console.print("the authorizer …")
    return doors, asyncio.run(_authorizers(folder, console))


def _doors_only(folder: Path) -> Path:
    """The manifests without what reads from the streams, in a project of their own."""
    project, manifests = find_project(), folder / "project" / "knative" / "base"
    shutil.copytree(project.manifests, manifests, ignore=shutil.ignore_patterns("sources"))
    listing = manifests / "kustomization.yaml"
    lines = listing.read_text().splitlines()
    listing.write_text("\n".join(line for line in lines if "sources/" not in line) + "\n")
    for name in ("functions", "policies"):
        (folder / "project" / name).symlink_to(project.root / name)
    return manifests


async def _provision(platform: RunningPlatform) -> str:
    async with Api(Connection(platform.url, platform.admin_key)) as api:
        return (await provision(api, [_TENANT], rules={}))[_TENANT]


async def _http(platform: RunningPlatform, key: str) -> DoorFigures:
    events, size, connections = _HTTP
    line = '{"specversion":"1.0","id":"%d","source":"/bench","type":"bench.one","data":{"n":%d}}\n'
    numbers = count()
    bodies = ("".join(line % (n := next(numbers), n) for _ in range(size)) for _ in range(events // size))
    batches = [Batch(key, body.encode(), size) for body in bodies]
    await Sender(platform.url).send(batches[:10])
    before = _cpu(platform, "ingest-http")
    report = await Sender(platform.url, connections=connections).send(batches)
    used = _cpu(platform, "ingest-http") - before
    call = f"HTTP batches of {size}"
    return DoorFigures(
        call, _ASKED[call], report.accepted / report.seconds, used / report.accepted * 1e6, client_cpu=None
    )


def _grpc(platform: RunningPlatform, client: Path, key: str, call: str) -> DoorFigures:
    events, at_once = _GRPC[call]
    _run_client(client, platform.grpc, key, call, 500, 1)
    before = _cpu(platform, "ingest-grpc")
    # Its own port: in a cluster nothing of ours stands before it.
    report = _run_client(client, f"{HOST}:{_port(platform, 'ingest-grpc')}", key, call, events, at_once)
    used = _cpu(platform, "ingest-grpc") - before
    return DoorFigures(
        call,
        _ASKED.get(call),
        report.settled / report.seconds,
        used / report.settled * 1e6,
        report.client_cpu / report.settled * 1e6,
    )


def _run_client(client: Path, address: str, key: str, call: str, events: int, at_once: int) -> _Report:
    command = [str(client), address, key, call, str(events), str(at_once)]
    done = subprocess.run(command, check=False, capture_output=True, timeout=_CLIENT_SECONDS)
    if done.returncode:
        raise Unavailable(f"The gRPC client failed: {done.stderr.decode().strip()}")
    return msgspec.json.decode(done.stdout, type=_Report)


def _cpu(platform: RunningPlatform, function: str) -> float:
    """Seconds so far."""
    return cpu_by_part(platform.pid)[function]


def _port(platform: RunningPlatform, function: str) -> int:
    pid = next(sample.pid for sample in sample_tree(platform.pid) if sample.part == function)
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return int(dict(item.partition(b"=")[::2] for item in variables)[b"PORT"])


async def _authorizers(folder: Path, console: Console) -> list[AuthorizerFigures]:
    figures = [await _authorizer(folder / "embedded", "embedded engine", {})]
    program = shutil.which("opa") or _built_opa()
    if program is None:
        console.print("no real OPA: it is not on the PATH")
        return figures
    async with _opa(program, folder) as url:
        return [*figures, await _authorizer(folder / "opa", "OPA", {"EVENTRUNNER_OPA_URL": url})]


def _built_opa() -> str | None:
    """What the tests have built."""
    return next((str(path) for path in (find_project().root / ".cache").glob("opa-*/opa")), None)


@asynccontextmanager
async def _opa(program: str, folder: Path) -> AsyncIterator[str]:
    port, policies = free_port(), find_project().policies
    command = [program, "run", "--server", "--skip-version-check", "--addr", f"{HOST}:{port}"]
    command += [str(policies / name) for name in ("authz.rego", "data.json")]
    with _process(command, folder / "opa.log"):
        async with asyncio.timeout(_START_SECONDS):
            while not await is_listening(port):
                await asyncio.sleep(0.05)
        yield f"http://{HOST}:{port}/v1/data/eventrunner/authz/allow"


@contextmanager
def _process(command: Sequence[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()


async def _authorizer(folder: Path, engine: str, settings: Mapping[str, str]) -> AuthorizerFigures:
    project = find_project()
    # A decision asks no registry; what is allowed is logged at debug only.
    env = {"EVENTRUNNER_NATS_URL": f"nats://{HOST}:{free_port()}", "EVENTRUNNER_LOG_LEVEL": "debug", **settings}
    async with new_probe_session() as session:
        launch = FunctionLauncher(project, env, folder / "logs", session)
        child, port = await launch(load_manifests(project.manifests).services["authorizer"], _START_SECONDS)
        try:
            calls = await _decide(f"http://{HOST}:{port}/v1/decision")
        finally:
            await child.stop(5)
    own = [decision["ms"] for decision in _logged(folder / "logs" / "authorizer.log")][-_DECISIONS:]
    return AuthorizerFigures(
        engine, _ASKED_MS, percentile(own, 0.5), percentile(own, 0.99), percentile(calls, 0.5), percentile(calls, 0.99)
    )


async def _decide(url: str) -> list[float]:
    """Milliseconds of each call, after some that are not counted."""
    found = []
    async with aiohttp.ClientSession() as session:
        for number in range(_DECISIONS + 200):
            subject = {"authenticated": True, "id": f"user-{number}", "tenant": f"t{number}", "roles": ["user"]}
            question = {"subject": subject, "resource": "events", "action": "list", "tenant": f"t{number}"}
            started = time.perf_counter()
            async with session.post(url, json=question) as answer:
                if answer.status != 200:
                    raise Unavailable(f"The authorizer answers {answer.status} to what the policy allows.")
            found.append((time.perf_counter() - started) * 1e3)
    return found[-_DECISIONS:]


def _logged(log: Path) -> Iterator[dict[str, float]]:
    for line in log.read_text().splitlines():
        if '"eventrunner.decisions"' in line:
            yield json.loads(json.loads(line)["message"])


def access_table(doors: Sequence[DoorFigures], authorizers: Sequence[AuthorizerFigures]) -> Table:
    table = Table(title="the front door alone")
    for title in ("what", "asked", "measured", "CPU µs/event: function", "client"):
        table.add_column(title, justify="left" if title == "what" else "right")
    for door in doors:
        asked = f"≥ {door.asked:,} events/s" if door.asked else ""
        client = "" if door.client_cpu is None else f"{door.client_cpu:.1f}"
        what = door.call if door.call.startswith("HTTP") else f"gRPC {door.call}"
        table.add_row(what, asked, f"{door.events_per_second:,.0f} events/s", f"{door.server_cpu:.1f}", client)
    for item in authorizers:
        measured = (
            f"p50 {item.own_p50:.2f}, p99 {item.own_p99:.2f} ms; call {item.call_p50:.2f}, {item.call_p99:.2f} ms"
        )
        table.add_row(f"authorizer, {item.engine}", f"p50 ≤ {item.asked} ms", measured, "", "")
    return table
