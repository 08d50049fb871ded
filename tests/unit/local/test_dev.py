"""The command `eventrunner dev` over the manifests of the repository."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from eventrunner.access.identity import Identity
from eventrunner.access.senders import SourceSigner
from eventrunner.cli.processes import sample_tree
from support_identity import SIGNER

from tests.unit.local.support import ECHO, is_alive, make_project

pytestmark = pytest.mark.pipeline


@contextmanager
def running(data: Path, *options: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    command = [sys.executable, "-m", "eventrunner", "dev", "--port", "0", "--data-dir", str(data), *options]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("EVENTRUNNER_")} | env
    # Not a pipe, which would hold the platform up when it is full of log.
    with (
        errors_of(data).open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environ) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield process, json.loads(line) if line else {}
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=30)


def errors_of(data: Path) -> Path:
    """What the platform over the folder has written to stderr."""
    return data.with_name(f"{data.name}.stderr")


def call(ready: dict[str, Any], method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    headers |= {"Authorization": f"Bearer {ready['admin_key']}"}
    request = urllib.request.Request(ready["url"] + path, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def descendants(process: subprocess.Popen[str]) -> list[int]:
    return [sample.pid for sample in sample_tree(process.pid)]


def until_dead(pids: list[int]) -> None:
    deadline = time.monotonic() + 5
    while alive := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.02)


def test_it_is_ready_as_its_line_says_and_goes_on_over_the_same_folder(tmp_path: Path) -> None:
    with running(tmp_path / "data") as (process, ready):
        assert list(ready) == ["ready", "url", "portal", "grpc", "broker", "nats", "clickhouse", "admin_key"]
        written = tmp_path / "data" / "dev.json"
        assert written.stat().st_mode & 0o777 == 0o600
        assert json.loads(written.read_text()) == ready | {"pid": process.pid}
        with urllib.request.urlopen(ready["clickhouse"].replace("eventrunner", "ping"), timeout=5) as answer:
            assert answer.read() == b"Ok.\n"
        assert call(ready, "PUT", "/api/v1/tenants/acme", b'{"name": "Acme"}', **_JSON)[0] == 201
        event = b'{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {}}'
        status, answer = call(ready, "POST", "/api/v1/events?tenant=acme", event, **_CLOUDEVENT)
        assert (status, answer) == (202, {"accepted": 1, "rejected": []})
        _until_stored(ready, "acme", 1)
        others = [path for path in (tmp_path / "data").rglob("*") if path.stat().st_mode & 0o077]
        assert (others, (tmp_path / "data").stat().st_mode & 0o777) == ([], 0o700)
        pids = descendants(process)
        process.kill()
        process.wait()
        until_dead(pids)
    with running(tmp_path / "data") as (process, again):
        assert again["admin_key"] == ready["admin_key"]
        assert call(again, "GET", "/api/v1/tenants/acme")[1]["name"] == "Acme"
        _until_stored(again, "acme", 1)
        pids = descendants(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        until_dead(pids)
    assert not written.exists()


def test_what_dies_is_started_again(tmp_path: Path) -> None:
    with running(tmp_path) as (process, ready):
        assert call(ready, "PUT", "/api/v1/tenants/acme", b"{}", **_JSON)[0] == 201
        killed = [sample for sample in sample_tree(process.pid) if sample.pid != process.pid]
        assert {"nats-server", "source adapter", "clickhouse (chdb)"} <= {sample.part for sample in killed}
        for sample in killed:
            os.kill(sample.pid, signal.SIGKILL)
        event = b'{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {}}'
        deadline = time.monotonic() + 20
        while call(ready, "POST", "/api/v1/events?tenant=acme", event, **_CLOUDEVENT)[0] != 202:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        _until_stored(ready, "acme", 1)


def test_a_second_platform_over_the_same_folder_is_refused(tmp_path: Path) -> None:
    with running(tmp_path):
        command = [sys.executable, "-m", "eventrunner", "dev", "--port", "0", "--data-dir", str(tmp_path)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert (second.returncode, second.stdout) == (1, "")
        assert "Another platform runs over" in second.stderr


def test_a_service_without_its_function_is_refused_by_name(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"echo": ECHO})
    (tmp_path / "functions" / "echo" / "main.py").unlink()
    with running(tmp_path / "data", "--manifests", str(project.manifests)) as (process, ready):
        assert not ready
        process.wait(timeout=20)
        assert "Knative Service echo has no function" in errors_of(tmp_path / "data").read_text()
        assert process.returncode == 1


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with running(tmp_path / "first") as (_, ready):
        port = ready["url"].rpartition(":")[2]
        with running(tmp_path / "second", "--port", port) as (process, second):
            assert not second
            process.wait(timeout=20)
            assert f"Port {port} cannot be used" in errors_of(tmp_path / "second").read_text()


def test_no_function_takes_a_batch_from_anybody_but_the_adapter(tmp_path: Path) -> None:
    with running(tmp_path) as (process, ready):
        assert call(ready, "PUT", "/api/v1/tenants/acme", b"{}", **_JSON)[0] == 201
        event = b'{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {}}'
        assert call(ready, "POST", "/api/v1/events?tenant=acme", event, **_CLOUDEVENT)[0] == 202
        _until_stored(ready, "acme", 1)
        engine = f"http://127.0.0.1:{_port_of(process, 'event_engine')}"
        batch = {"Content-Type": "application/cloudevents-batch+json"}
        for key in (ready["admin_key"], SIGNER.sign(Identity("root", "", ("admin",))), "nothing"):
            assert call({"url": engine, "admin_key": key}, "POST", "/", b"[]", **batch)[0] == 401
        signer = SourceSigner(str(tmp_path / "source.jwks"))
        for name, status in (("event-engine", 204), ("analytics", 401)):
            token = signer.header(f"serving.knative.dev/service/eventrunner/{name}").partition(" ")[2]
            assert call({"url": engine, "admin_key": token}, "POST", "/", b"[]", **batch)[0] == status
            assert call({**ready, "admin_key": token}, "GET", "/api/v1/status")[0] == 401


def _port_of(process: subprocess.Popen[str], function: str) -> int:
    for pid in descendants(process):
        arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if any(f"/{function}/" in argument for argument in arguments) and "--port" in arguments:
            return int(arguments[arguments.index("--port") + 1])
    raise AssertionError(f"{function} does not run")


_JSON = {"Content-Type": "application/json"}
_CLOUDEVENT = {"Content-Type": "application/cloudevents+json"}


def _until_stored(ready: dict[str, Any], tenant: str, number: int) -> None:
    deadline = time.monotonic() + 30
    while len(call(ready, "GET", f"/api/v1/events/{tenant}")[1].get("events", [])) < number:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_gateway_notes_when_a_key_is_used(tmp_path: Path) -> None:
    with running(tmp_path) as (_, ready):
        call(ready, "PUT", "/api/v1/tenants/acme", b"{}")
        used, unused = (call(ready, "POST", "/api/v1/tenants/acme/keys", b"{}")[1] for _ in range(2))
        assert call({**ready, "admin_key": used["key"]}, "GET", "/api/v1/tenants/acme")[0] == 200
        deadline = time.monotonic() + 10
        while True:
            listed = call(ready, "GET", "/api/v1/tenants/acme/keys")[1]["keys"]
            uses = {key["id"]: key["last_used"] for key in listed}
            if uses[used["id"]] is not None:
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert uses[unused["id"]] is None
