"""How a consumer's process follows the desk, over real HTTP: what it keeps, how long, and what it does without it."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from eventrunner.errors import Unavailable
from eventrunner.handlers.consumer_desk import Desk


@dataclass
class Answers:
    status: int = 200
    record: str = "first"
    seen: list[tuple[str, str | None, bytes]] = field(default_factory=list)

    def state(self) -> bytes:
        text = base64.b64encode(self.record.encode()).decode()
        return json.dumps({"record": text, "keys": {"acme.key": ""}}).encode()


@dataclass
class Now:
    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@contextlib.contextmanager
def desk_of(answers: Answers, clock: Now) -> Iterator[Desk]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answers.seen.append((self.path, self.headers["Authorization"], body))
            self.send_response(answers.status)
            content = answers.state() if answers.status == 200 else b'{"detail": "not now"}'
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Desk(f"http://127.0.0.1:{server.server_port}", "acme/test", clock)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_it_asks_once_a_second_with_the_token_of_the_batch_and_keeps_what_has_not_changed() -> None:
    answers, clock = Answers(), Now()
    with desk_of(answers, clock) as desk:
        desk.look("Bearer a")
        record, keys = desk.record(), desk.keys()
        assert record == b"first"
        assert answers.seen == [("/consumers/acme/test", "Bearer a", b"")]
        answers.record = "second"
        desk.look("Bearer b")
        assert len(answers.seen) == 1
        clock.seconds = 1.0
        desk.look("Bearer b")
        assert (desk.record(), answers.seen[-1][1]) == (b"second", "Bearer b")
        assert desk.keys() is keys
        answers.record = "third"
        desk.look("Bearer b", anew=True)
        assert desk.record() == b"third"


def test_an_outage_stops_nothing_for_half_a_minute_and_everything_after_it() -> None:
    answers, clock = Answers(), Now()
    with desk_of(answers, clock) as desk:
        answers.status = 503
        with pytest.raises(Unavailable, match="not now"):
            desk.look("Bearer a")
        answers.status = 200
        desk.look("Bearer a")
        answers.status = 503
        clock.seconds = 30.0
        desk.look("Bearer a")
        assert desk.record() == b"first"
        clock.seconds = 31.0
        with pytest.raises(Unavailable, match="not now"):
            desk.look("Bearer a")


def test_who_is_not_believed_stops_at_once() -> None:
    answers, clock = Answers(), Now()
    with desk_of(answers, clock) as desk:
        desk.look("Bearer a")
        answers.status, clock.seconds = 401, 2.0
        with pytest.raises(Unavailable, match="not now"):
            desk.look("Bearer b")
        with pytest.raises(Unavailable, match="not now"):
            desk.code("0" * 64)
        answers.status = 404
        assert desk.code("0" * 64) is None


def test_lines_are_sent_together_with_the_last_token() -> None:
    answers, clock = Answers(), Now()
    with desk_of(answers, clock) as desk:
        desk.look("Bearer a")
        for line in (b"one", b"two"):
            desk.send_later(line)
        arrived = threading.Event()
        for _ in range(100):
            if len(answers.seen) > 1:
                break
            arrived.wait(0.05)
        assert answers.seen[1:] == [("/consumers/acme/test/logs", "Bearer a", b"one\ntwo")]
