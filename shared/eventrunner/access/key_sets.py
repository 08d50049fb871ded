"""Key sets (JWKS, RFC 7517): where they come from, and finding a key after they were changed.

A set with a URL is fetched by a thread of its own, so that a slow server of keys holds nobody up whose key is known.
Who needs a key that has yet to come is told so by KeysComing and waits by `await_keys`, or in a thread of its own by
`wait_for_keys`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_until
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Final, TypeVar

import jwt

from eventrunner.errors import ConfigurationError, EventRunnerError, Unavailable

__all__ = ["KeySet", "KeysComing", "await_keys", "parse_keys", "wait_for_keys"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_REFRESH_SECONDS: Final = 240.0
"""After which a set is read again, so that a key that was taken out is not believed for ever; the old one serves."""
_EXPIRE_SECONDS: Final = 300.0
"""After which nobody is answered by it before it was tried to read it again: nobody has asked for a minute."""
_PAUSE: Final = 2.0
"""Between two readings because of a key that is not known: anybody can ask for one."""
_AGAIN_SECONDS: Final = 10.0
"""Until a set that could not be read is tried again."""
_PATIENCE: Final = 2.0
"""How long a fetch may take, and who needs it waits."""
_MAX_BYTES: Final = 1024 * 1024
_CHUNK: Final = 65_536


@dataclass(eq=False)
class KeysComing(Unavailable):
    done: Future[None] = field(default_factory=Future)
    """Ends when the keys have been read, or could not be."""


class KeySet:
    """`source`: the set itself, the path of a file, or an http(s) URL. Safe to share between threads.

    Raises ConfigurationError for a text that is no set.
    """

    def __init__(self, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] | None = None
        self._text = b""
        self._error: EventRunnerError | None = None
        """Why there are no keys."""
        self._ask_at = self._refresh_at = self._expires_at = clock()
        self._reading: Future[None] | None = None
        self._reading_since = math.inf
        self._lock = threading.Lock()
        if not source or _is_inline(source):
            parse_keys(source)

    def find(self, kid: str) -> jwt.PyJWK | None:
        """None for a key that is not in the set; the same object as before while the set is the same, so that what was
        checked by another one can be checked again. Raises KeysComing if the set has to be fetched before that can be
        said, Unavailable while it was never read, ConfigurationError for what is none."""
        now = self._clock()
        keys = self._keys
        is_enough = keys is not None and now < self._expires_at and (kid in keys or now < self._ask_at)
        if keys is None or now >= self._refresh_at or not is_enough:
            # A fetch that hangs takes nobody's keys away.
            is_enough |= keys is not None and kid in keys and now > self._reading_since + _PATIENCE
            keys = self._read_again(now, is_enough)
        if keys is None:
            raise self._error or Unavailable(_UNREAD)
        return keys.get(kid)

    def _read_again(self, now: float, is_enough: bool) -> dict[str, jwt.PyJWK] | None:
        with self._lock:
            if self._reading is None and now >= self._ask_at:
                if not _is_remote(self._source):
                    self._read()
                    return self._keys
                self._reading, self._reading_since = Future(), now
                self._reading.set_running_or_notify_cancel()
                threading.Thread(target=self._fetch, args=(self._reading,), name="key set", daemon=True).start()
            if self._reading is not None and not is_enough:
                raise KeysComing(_UNREAD, done=self._reading)
            return self._keys

    def _fetch(self, done: Future[None]) -> None:
        try:
            self._read()
        finally:
            self._reading, self._reading_since = None, math.inf
            done.set_result(None)

    def _read(self) -> None:
        now = self._clock()
        try:
            text = _text(self._source)
            if text != self._text or self._keys is None:
                self._keys, self._error = parse_keys(text), None
                self._text = text
            self._refresh_at = now + _REFRESH_SECONDS
        except (OSError, ValueError, HTTPException, ConfigurationError) as error:
            self._refresh_at = now + _AGAIN_SECONDS
            if self._keys is not None:
                _log.error("the key set %s cannot be read; the known keys stay: %s", self._source, error)
            else:
                _log.error("the key set %s cannot be read: %s", self._source, error)
                self._error = error if isinstance(error, ConfigurationError) else Unavailable(_UNREAD)
        self._expires_at = now + _EXPIRE_SECONDS
        self._ask_at = self._clock() + _PAUSE


_UNREAD: Final = "The keys that tokens are checked with cannot be read just now; try again."


async def await_keys(read: Callable[[], _T]) -> _T:
    """What `read` returns, once keys that it needs have come. Raises KeysComing if they take too long."""
    try:
        return read()
    except KeysComing as coming:
        await asyncio.wait([asyncio.wrap_future(coming.done)], timeout=_PATIENCE)
    return read()


def wait_for_keys(read: Callable[[], _T]) -> _T:
    """The same for a thread of its own."""
    try:
        return read()
    except KeysComing as coming:
        wait_until([coming.done], timeout=_PATIENCE)
    return read()


def parse_keys(text: str | bytes) -> dict[str, jwt.PyJWK]:
    """Keys by `kid`; each must name its algorithm, so that a token cannot choose how it is checked."""
    try:
        keys = [(str(key["kid"]), str(key["alg"]), key) for key in json.loads(text)["keys"]]
        return {kid: jwt.PyJWK(key, algorithm) for kid, algorithm, key in keys}
    except (ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
        raise ConfigurationError(f"The key set is not a JWKS whose keys have kid and alg: {error!r}.") from error


def _is_inline(source: str) -> bool:
    return source.lstrip().startswith(("{", "["))


def _is_remote(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _text(source: str) -> bytes:
    if _is_inline(source):
        return source.encode()
    return _download(source) if _is_remote(source) else Path(source).read_bytes()


def _download(url: str) -> bytes:
    # The library's own limit is for each piece that arrives, however small.
    deadline = time.monotonic() + _PATIENCE
    body = b""
    with urllib.request.urlopen(url, timeout=_PATIENCE) as response:
        while piece := response.read1(_CHUNK):
            body += piece
            if time.monotonic() > deadline or len(body) > _MAX_BYTES:
                raise TimeoutError("it is too large or takes too long")
    return body
