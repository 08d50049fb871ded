"""A server of a key set that is as slow, or as broken, as a test wants it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["KeyServer", "key_server"]


class KeyServer:
    def __init__(self, keys: str) -> None:
        self.keys = keys
        """What it answers; empty for an error."""
        self.seconds = 0.0
        """Until it answers."""
        self.asked = 0
        self.url = ""


@contextlib.contextmanager
def key_server(keys: str) -> Iterator[KeyServer]:
    state = KeyServer(keys)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked += 1
            time.sleep(state.seconds)
            body = state.keys.encode()
            with contextlib.suppress(OSError):
                self.send_response(200 if body else 500)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_port}/jwks.json"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield state
        server.shutdown()
        thread.join()
