"""Serves an embedded ClickHouse over HTTP: `python -m eventrunner.storage.chdb_server --data DIR --port N`.

Speaks as much of ClickHouse's HTTP interface as its clients use, so that the functions have one client for this and
for a real server. Only for this machine: there are no passwords.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import threading
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from eventrunner.memory import keep_memory
from eventrunner.storage.chdb_engine import ChdbEngine
from eventrunner.storage.clickhouse_protocol import (
    BAD_REQUEST_CODE,
    ClickHouseError,
    decode_body,
    read_statement,
    status_of,
)

__all__ = ["ChdbServer", "main"]

_log = logging.getLogger(__name__)

_HOST: Final = "127.0.0.1"
_BODY_LIMIT: Final = 256 * 1024 * 1024
_CHUNK_LINE_LIMIT: Final = 1024


class ChdbServer(ThreadingHTTPServer):
    # The engine waits for running statements when it closes; a connection that only waits need not be waited for.
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, engine: ChdbEngine, port: int) -> None:
        self.engine = engine
        self.stopping = False
        super().__init__((_HOST, port), _Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: ChdbServer
    protocol_version = "HTTP/1.1"
    # Longer than a client keeps an unused connection, so that it is the one to close it.
    timeout = 900
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/ping" or (path == "/" and "query=" not in self.path):
            self._answer(HTTPStatus.OK, b"Ok.\n")
        else:
            self._execute()

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._execute()

    def _execute(self) -> None:
        try:
            body = decode_body(self._body(), self.headers.get("Content-Encoding", ""))
            # A browser sends Origin with every request that a page of another site makes it send.
            if "Origin" in self.headers:
                raise ClickHouseError("Requests of web pages are refused.", 516)
            statement = read_statement(self.command, self.path, dict(self.headers), body)
            result = self.server.engine.execute(statement)
        except ClickHouseError as error:
            text = error.text.encode(errors="replace") + b"\n"
            self._answer(status_of(error.code), text, {"X-ClickHouse-Exception-Code": str(error.code)})
            return
        headers = {"X-ClickHouse-Query-Id": statement.query_id, "X-ClickHouse-Timezone": "UTC"}
        if result:
            headers["X-ClickHouse-Format"] = statement.output_format
        self._answer(HTTPStatus.OK, result, headers)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunks()
        text = self.headers.get("Content-Length", "0")
        size = int(text) if text.isascii() and text.isdigit() else _BODY_LIMIT + 1
        if size > _BODY_LIMIT:
            raise self._refuse(f"A body has at most {_BODY_LIMIT} bytes.")
        return self.rfile.read(size)

    def _chunks(self) -> bytes:
        chunks: list[bytes] = []
        total = 0
        while size := self._chunk_size():
            total += size
            if total > _BODY_LIMIT:
                raise self._refuse(f"A body has at most {_BODY_LIMIT} bytes.")
            chunks.append(self.rfile.read(size))
            self.rfile.readline(_CHUNK_LINE_LIMIT)
        while self.rfile.readline(_CHUNK_LINE_LIMIT).strip():
            pass
        return b"".join(chunks)

    def _chunk_size(self) -> int:
        line = self.rfile.readline(_CHUNK_LINE_LIMIT)
        try:
            return int(line.partition(b";")[0], 16)
        except ValueError as error:
            raise self._refuse("The chunks of the body cannot be read.") from error

    def _refuse(self, text: str) -> ClickHouseError:
        # What is left of the body would be taken for the next request.
        self.close_connection = True
        return ClickHouseError(text, BAD_REQUEST_CODE)

    def _answer(self, status: HTTPStatus, body: bytes, headers: dict[str, str] | None = None) -> None:
        lines = [f"HTTP/1.1 {int(status)} {status.phrase}", f"Date: {formatdate(usegmt=True)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines += ["Content-Type: text/plain; charset=UTF-8", f"Content-Length: {len(body)}"]
        if self.server.stopping or self.close_connection:
            self.close_connection = True
            lines.append("Connection: close")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
        self.wfile.write(head if self.command == "HEAD" else head + body)
        self.wfile.flush()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Of a request that cannot be read. The texts quote it, and with it what may be a password."""
        self.close_connection = True
        self._answer(HTTPStatus(code), b"The request cannot be read as HTTP/1.1.\n")

    def log_message(self, format: str, *args: object) -> None:
        _log.debug(format, *args)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one line of JSON when it is ready; SIGTERM lets running statements end."""
    parser = argparse.ArgumentParser(prog="eventrunner.storage.chdb_server", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that keeps the databases")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1; 0 for a free one")
    parser.add_argument("--memory", type=int, default=640, metavar="MIB", help="limit of the engine (%(default)s MiB)")
    arguments = parser.parse_args(argv)
    keep_memory()
    engine = ChdbEngine(arguments.data.resolve(), arguments.memory)
    server = ChdbServer(engine, arguments.port)

    def stop(*_: object) -> None:
        server.stopping = True
        # shutdown() waits for the loop that this handler interrupts.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(json.dumps({"ready": True, "url": f"http://{_HOST}:{server.port}"}), flush=True)
    server.serve_forever(poll_interval=1)
    server.server_close()
    engine.close()


if __name__ == "__main__":
    main()
