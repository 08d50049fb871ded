"""The other side of `source.consumer_desk`: a consumer's process has no other way to the registry, the modules and the
stream of logs, and no credentials but the token that came with its last batch."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import msgspec

from eventrunner.errors import Unavailable
from eventrunner.storage.consumer_state import ConsumerState

__all__ = ["Desk"]

_log = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 1.0
_STALE_SECONDS: Final = 30.0
"""For so long an outage of the desk stops nothing."""
_TIMEOUT: Final = 5.0
_MODULE_TIMEOUT: Final = 60.0
_MOST_WAITING: Final = 5_000
"""Lines of log that have not been sent."""
_MOST_LINES: Final = 500
_GATHER_SECONDS: Final = 0.05


class Desk:
    """Safe to share between threads. What it shows of the registry is at most `_LOOK_SECONDS` old."""

    def __init__(self, url: str, consumer: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`consumer`: `<tenant>/<name>`."""
        self._url = f"{url.rstrip('/')}/consumers/{consumer}"
        self._monotonic = monotonic
        self._opener = build_opener(ProxyHandler({}))
        self._authorization = ""
        self._state = ConsumerState()
        self._answer = b""
        self._answered_at: float | None = None
        self._looked_at: float | None = None
        self._lock = threading.Lock()
        self._lines: queue.Queue[bytes] = queue.Queue(_MOST_WAITING)
        self._sender: threading.Thread | None = None

    def look(self, authorization: str, *, anew: bool = False) -> None:
        """To be called with the header of each batch; asks the desk when that was a while ago, or `anew`.
        Raises Unavailable."""
        self._authorization = authorization
        with self._lock:
            now = self._monotonic()
            if not anew and self._looked_at is not None and now - self._looked_at < _LOOK_SECONDS:
                return
            try:
                self._take(self._request("", _TIMEOUT), now)
            except (OSError, msgspec.DecodeError) as error:
                refused = isinstance(error, HTTPError) and error.code < HTTPStatus.INTERNAL_SERVER_ERROR
                if refused or self._answered_at is None or now - self._answered_at > _STALE_SECONDS:
                    raise Unavailable(f"The platform does not say what there is to run: {_reason(error)}") from error
                _log.warning("the platform does not say what there is to run: %s", _reason(error))
            self._looked_at = now

    def record(self) -> bytes | None:
        """Of the consumer; the same object until it changes."""
        return self._state.record

    def keys(self) -> Mapping[str, bytes]:
        """Records of its tenant's signing keys, `<tenant>.<key id>`; the same object until one changes."""
        return self._state.keys

    def code(self, sha256: str) -> bytes | None:
        """None for what is not there, or is not the consumer's module. Raises Unavailable."""
        try:
            return self._request(f"/modules/{sha256}", _MODULE_TIMEOUT)
        except HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            raise Unavailable(f"The module cannot be read just now: {_reason(error)}") from error
        except OSError as error:
            raise Unavailable(f"The module cannot be read just now: {_reason(error)}") from error

    def send_later(self, line: bytes) -> None:
        """Returns at once; a line of log that cannot be sent is lost."""
        if self._sender is None:
            with self._lock:
                if self._sender is None:
                    self._sender = threading.Thread(target=self._send, name="logs", daemon=True)
                    self._sender.start()
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            _log.debug("a line of log is lost: %d are waiting", _MOST_WAITING)

    def _take(self, answer: bytes, now: float) -> None:
        if answer != self._answer:
            new = msgspec.json.decode(answer, type=ConsumerState)
            old, self._answer = self._state, answer
            record = old.record if old.record == new.record else new.record
            self._state = ConsumerState(record, old.keys if old.keys == new.keys else new.keys)
        self._answered_at = now

    def _send(self) -> None:
        while True:
            lines = [self._lines.get()]
            time.sleep(_GATHER_SECONDS)
            while len(lines) < _MOST_LINES and not self._lines.empty():
                lines.append(self._lines.get())
            try:
                self._request("/logs", _TIMEOUT, b"\n".join(lines))
            except OSError as error:
                _log.debug("%d lines of log are lost: %s", len(lines), _reason(error))

    def _request(self, path: str, timeout: float, body: bytes | None = None) -> bytes:
        """Raises OSError, of which urllib's errors are."""
        headers = {"Authorization": self._authorization} if self._authorization else {}
        with self._opener.open(Request(self._url + path, body, headers), timeout=timeout) as answer:
            content: bytes = answer.read()
        return content


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        try:
            return str(json.loads(error.read())["detail"])
        except (OSError, ValueError, KeyError, TypeError):
            return f"status {error.code}."
    return f"{error.reason if isinstance(error, URLError) else error!r}."
