"""No function reads more of a body than its call may bring, whoever sends it and however."""

from __future__ import annotations

import contextlib
import io
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from eventrunner.access.identity import Identity
from eventrunner.settings import Settings
from eventrunner.stage.batch import UNPACK_LIMIT
from eventrunner.stage.body import BODY_LIMIT
from eventrunner.stage.http import HttpFunction
from flask import Flask, Request, Response
from flask.testing import FlaskClient
from functions_framework import create_app
from support_identity import JWKS, sign
from support_nats import free_port
from werkzeug.test import TestResponse

SOURCE = """
from eventrunner.stage import Outcomes, Stage
from eventrunner.stage.http import HttpFunction
from flask import Response
_function = HttpFunction("test")
@_function.route("POST", "/read")
def _read(request, identity):
    return Response(str(len(request.get_data())))
@_function.route("POST", "/leave")
def _leave(request, identity):
    return Response("left")
@_function.route("POST", "/more", lambda settings: settings.max_module_bytes)
def _more(request, identity):
    return Response(str(len(request.get_data())))
_stage = Stage("test", lambda settings: lambda batch: Outcomes())
def main(request):
    return (_stage if request.path == "/stage" else _function).main(request)
"""
LIMIT = 32 * 1024 * 1024
FORGOTTEN = 16 * 1024 * 1024
WHOLE = 256 * 1024 * 1024
TOLERABLE = FORGOTTEN + 32 * 1024 * 1024
"""What is forgotten and what all buffers of the two sockets hold, and more."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("function") / "main.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def client(source: Path, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    monkeypatch.setenv("EVENTRUNNER_GATEWAY_JWKS", JWKS)
    app: Flask = create_app("main", str(source))
    return app.test_client()


class Chunks(io.RawIOBase):
    """The body of a request without a declared length: as much as is asked for, and counted."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int = -1) -> bytes:
        # Short, as sockets read.
        count = min(self.left, 100_000, self.left if size < 0 else size)
        self.left -= count
        return b"x" * count


def send(client: FlaskClient, method: str, path: str, body: Chunks, headers: dict[str, str]) -> TestResponse:
    environ = {"wsgi.input": body, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    return client.open(path, method=method, environ_overrides=environ, headers=headers)


def authorized() -> dict[str, str]:
    return {"Authorization": f"Bearer {sign(Identity('root', 'platform', ('admin',)))}"}


@pytest.mark.parametrize(("path", "limit"), [("/read", BODY_LIMIT), ("/more", LIMIT)])
def test_a_body_of_as_much_as_a_call_may_bring_is_read(client: FlaskClient, path: str, limit: int) -> None:
    for answer in (
        client.post(path, data=b"x" * limit, headers=authorized()),
        send(client, "POST", path, Chunks(limit), authorized()),
    ):
        assert (answer.status_code, answer.text) == (200, str(limit))


@pytest.mark.parametrize(("path", "limit"), [("/read", BODY_LIMIT), ("/more", LIMIT), ("/stage", UNPACK_LIMIT)])
def test_a_byte_more_is_413(client: FlaskClient, path: str, limit: int) -> None:
    declared = client.post(path, data=b"x" * (limit + 1), headers=authorized())
    chunked = send(client, "POST", path, body := Chunks(limit + 1_000_000), authorized())
    for answer in (declared, chunked):
        assert (answer.status_code, answer.content_type) == (413, "application/problem+json")
        assert str(limit) in answer.json["detail"]  # type: ignore[index]
    assert body.left == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/healthz", 200), ("GET", "/metrics", 200), ("GET", "/read", 404), ("POST", "/nowhere", 404)],
)
def test_nothing_is_read_for_what_has_no_body(client: FlaskClient, method: str, path: str, status: int) -> None:
    assert send(client, method, path, body := Chunks(WHOLE), authorized()).status_code == status
    assert body.left == WHOLE


@pytest.mark.parametrize(
    ("path", "known", "status"), [("/leave", True, 200), ("/leave", False, 401), ("/read", True, 413)]
)
def test_of_what_is_left_some_is_forgotten_and_no_more(
    client: FlaskClient, path: str, known: bool, status: int
) -> None:
    headers = authorized() if known else {}
    assert send(client, "POST", path, body := Chunks(WHOLE), headers).status_code == status
    assert body.left == WHOLE - BODY_LIMIT - FORGOTTEN


def test_nothing_is_forgotten_of_a_length_that_is_beyond_it(client: FlaskClient) -> None:
    for length, left in ((BODY_LIMIT + FORGOTTEN, 0), (BODY_LIMIT + FORGOTTEN + 1, BODY_LIMIT + FORGOTTEN + 1)):
        body = Chunks(length)
        environ = {"wsgi.input": body, "wsgi.input_terminated": True, "CONTENT_LENGTH": str(length)}
        answer = client.post("/read", environ_overrides=environ, headers=authorized())
        assert (answer.status_code, body.left) == (413, left)


def test_what_is_left_within_the_limit_is_taken_for_a_sender_who_looks_for_the_answer_last(client: FlaskClient) -> None:
    for headers in (authorized(), {"Authorization": "Bearer unknown"}):
        assert send(client, "POST", "/leave", body := Chunks(BODY_LIMIT), headers).status_code in (200, 401)
        assert body.left == 0


def test_the_limits_of_routes_can_be_asked_for() -> None:
    function = HttpFunction("test")

    def handler(request: Request, identity: Identity) -> Response:
        raise AssertionError

    function.route("GET", "/a")(handler)
    function.route("PUT", "/b", lambda settings: settings.max_event_bytes + 1)(handler)
    limits = function.body_limits(Settings(max_event_bytes=6))
    assert limits == {("GET", "/a"): BODY_LIMIT, ("PUT", "/b"): 7}


# --- a real server


@pytest.fixture(scope="module")
def port(source: Path) -> Iterator[int]:
    """Of functions-framework with the function."""
    port = free_port()
    arguments = ["--target=main", f"--source={source}", "--host=127.0.0.1", f"--port={port}"]
    command = [sys.executable, "-m", "functions_framework", *arguments]
    env = {"EVENTRUNNER_GATEWAY_JWKS": JWKS, "TMPDIR": str(source.parent)}
    with (
        (source.parent / "log").open("wb") as log,
        subprocess.Popen(command, env=env, stdout=log, stderr=log) as server,
    ):
        until = time.monotonic() + 60
        while not is_up(port):
            assert server.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        yield port
        server.terminate()


def is_up(port: int) -> bool:
    with contextlib.suppress(OSError):
        return exchange(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 0)[0].startswith(b"HTTP/1.1 200")
    return False


def exchange(port: int, head: bytes, chunks: int) -> tuple[bytes, int]:
    """What was answered, and how much of so many MiB, in chunks, could be sent."""
    chunk = b"%x\r\n" % 2**20 + b"x" * 2**20 + b"\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(head)
            for _ in range(chunks):
                connection.sendall(chunk)
                sent += 2**20
            if chunks:
                connection.sendall(b"0\r\n\r\n")
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = connection.recv(65536)
    return answer, sent


@pytest.mark.parametrize("path", ["/read", "/leave", "/more", "/stage", "/healthz", "/nowhere"])
@pytest.mark.parametrize("known", [True, False])
def test_a_server_does_not_read_a_body_to_its_end(port: int, path: str, known: bool) -> None:
    limit = {"/more": LIMIT, "/stage": UNPACK_LIMIT}.get(path, 0)
    lines = [
        f"{'GET' if path == '/healthz' else 'POST'} {path} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked",
        *(f"{name}: {value}" for name, value in authorized().items() if known), "", "",
    ]  # fmt: skip
    _, sent = exchange(port, "\r\n".join(lines).encode(), WHOLE // 2**20)
    assert sent < limit + TOLERABLE
    assert is_up(port)


def test_a_declared_length_beyond_the_limit_is_refused_before_anything_came(port: int) -> None:
    lines = ["POST /read HTTP/1.1", "Host: x", f"Content-Length: {2**40}", "", ""]
    answer, _ = exchange(port, "\r\n".join(lines).encode(), 0)
    assert answer.startswith(b"HTTP/1.1 413")
