"""What the server of a function makes of headers with which a proxy could change what the function sees."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from eventrunner.local.manifests import load_manifests
from eventrunner.local.project import find_project
from support_nats import free_port

VARIABLE = "FORWARDED_ALLOW_IPS"
WSGI = """
def main(request):
    return {"path": request.path, "root": request.script_root, "scheme": request.scheme, "client": request.remote_addr}
"""
ASGI = """
from starlette.responses import JSONResponse
async def main(request):
    url, scope = request.url, request.scope
    return JSONResponse(
        {"path": url.path, "root": scope["root_path"], "scheme": url.scheme, "client": request.client.host}
    )
"""
PATH = "/api/v1/events/acme/metrics"


def in_a_cluster() -> str:
    """What the manifests of all services set."""
    (value,) = {service.env[VARIABLE] for service in load_manifests(find_project().manifests).services.values()}
    return value


@pytest.fixture(scope="module", params=["here", "cluster"])
def environment(request: pytest.FixtureRequest) -> tuple[str, dict[str, str]]:
    """The module that runs a function, and what it is told."""
    inherited = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if request.param == "here":
        return "eventrunner.local.function_process", inherited
    return "functions_framework", inherited | {VARIABLE: in_a_cluster()}


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def port(
    request: pytest.FixtureRequest, environment: tuple[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    module, env = environment
    folder, port = tmp_path_factory.mktemp("function"), free_port()
    (folder / "main.py").write_text(ASGI if request.param == "asgi" else WSGI)
    command = [sys.executable, "-m", module, f"--source={folder}/main.py", "--target=main", "--host=127.0.0.1"]
    command += [f"--port={port}", *(["--asgi"] if request.param == "asgi" else [])]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, env=env | {"TMPDIR": str(folder)}, stdout=log, stderr=log) as server,
    ):
        try:
            _until_up(server, port, folder / "log")
            yield port
        finally:
            server.terminate()


def _until_up(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError, HTTPException):
            seen(port, {})
            return
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def seen(port: int, headers: Mapping[str, str]) -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", PATH, headers=dict(headers))
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        document: dict[str, Any] = json.loads(text)
        return document
    finally:
        connection.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"SCRIPT_NAME": "/api/v1/events/acme"},
        {"SCRIPT_NAME": "/zzz"},
        {"script_name": "/api"},
        {"PATH_INFO": "/metrics"},
        {"X-Forwarded-Ssl": "on"},
        {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"},
        {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"},
    ],
)
def test_no_header_changes_path_scheme_or_client(port: int, headers: dict[str, str]) -> None:
    assert seen(port, headers) == {"path": PATH, "root": "", "scheme": "http", "client": "127.0.0.1"}


def test_a_function_with_nats_starts_without_what_only_websockets_need() -> None:
    code = (
        "import sys, eventrunner.local.function_process as process\n"
        "sys.meta_path.insert(0, process._NoWebSockets())\n"
        "import nats.aio.client\n"
        "before = 'aiohttp' in sys.modules\n"
        "import aiohttp\n"
        "print(before, aiohttp.__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False aiohttp\n"
