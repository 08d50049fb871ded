"""The real Oathkeeper with the project's own configuration and access rules, only the addresses replaced, in front of
functions of its own and a real OPA."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from eventrunner.access.identity import make_keys
from eventrunner.cli.go_programs import go_program
from eventrunner.local.functions import FunctionLauncher
from eventrunner.local.manifests import load_manifests
from eventrunner.local.ports import free_port, is_listening
from eventrunner.local.project import find_project
from eventrunner.local.upstream import new_probe_session
from support import require
from support_nats import eventually
from support_signed_tokens import ISSUER_PUBLIC_KEYS

__all__ = ["oathkeeper"]

_PROGRAM = "EVENTRUNNER_OATHKEEPER"
_FUNCTIONS = ("authorizer", "api", "billing", "ingest-http")


@dataclass(frozen=True, slots=True)
class _Ports:
    proxy: int
    api: int
    prometheus: int


@contextlib.asynccontextmanager
async def oathkeeper(folder: Path, settings: Mapping[str, str], opa_url: str) -> AsyncIterator[str]:
    """Yields the base URL. `settings` are the functions' environment; their gateway is Oathkeeper."""
    program = _program()
    ports = _Ports(free_port(), free_port(), free_port())
    own = {
        "EVENTRUNNER_GATEWAY_JWKS": f"http://127.0.0.1:{ports.api}/.well-known/jwks.json",
        "EVENTRUNNER_OPA_URL": opa_url,
    }
    async with _functions(folder, {**settings, **own}) as upstreams:
        _configure(folder, ports, upstreams)
        with _process(program, folder):
            await eventually(lambda: is_listening(ports.proxy), 30)
            yield f"http://127.0.0.1:{ports.proxy}"


def _program() -> str:
    """`EVENTRUNNER_OATHKEEPER` names another one: the version that is to run in a cluster."""
    named = os.environ.get(_PROGRAM)
    if named is None:
        require("go")
        return str(go_program("oathkeeper", "oathkeeper-0.40.9/oathkeeper"))
    program = shutil.which(named)
    assert program, f"{_PROGRAM} names {named}, which is no program"
    return program


@contextlib.asynccontextmanager
async def _functions(folder: Path, env: Mapping[str, str]) -> AsyncIterator[dict[str, int]]:
    """Yields their ports."""
    project = find_project()
    services = load_manifests(project.manifests).services
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(new_probe_session())
        launch = FunctionLauncher(project, env, folder / "logs", session)
        ports: dict[str, int] = {}
        for name in _FUNCTIONS:
            child, ports[name] = await launch(services[name], 60)
            stack.push_async_callback(child.stop, 5)
        yield ports


def _configure(folder: Path, ports: _Ports, upstreams: Mapping[str, int]) -> None:
    folder.mkdir(exist_ok=True)
    policies = find_project().policies
    for name in ("oathkeeper.yaml", "access-rules.yaml"):
        text = (policies / name).read_text()
        text = text.replace("file:///etc/oathkeeper", f"file://{folder}")
        for service, port in upstreams.items():
            text = text.replace(f"http://{service}.eventrunner.svc.cluster.local", f"http://127.0.0.1:{port}")
        for field, port in (("4455", ports.proxy), ("4456", ports.api), ("9000", ports.prometheus)):
            text = re.sub(rf"\{{port: {field}", f"{{host: 127.0.0.1, port: {port}", text)
        assert "cluster.local" not in text
        (folder / name).write_text(text)
    for name, keys in (("gateway", make_keys("gateway")), ("issuers", ISSUER_PUBLIC_KEYS)):
        (folder / name).mkdir()
        (folder / name / "jwks.json").write_text(json.dumps(json.loads(keys)))


@contextlib.contextmanager
def _process(program: str, folder: Path) -> Iterator[None]:
    command = [program, "serve", "--config", str(folder / "oathkeeper.yaml"), "--disable-telemetry"]
    with (folder / "oathkeeper.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield
        finally:
            process.terminate()
