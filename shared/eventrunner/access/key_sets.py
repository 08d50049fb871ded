"""Key sets (JWKS, RFC 7517): where they come from, and finding a key after they were changed."""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

import jwt

from eventrunner.errors import ConfigurationError, Unavailable

__all__ = ["KeySet", "parse_keys"]

_log = logging.getLogger(__name__)

_SECONDS: Final = 300.0
"""After which a set is read again, so that a key that was taken out is not believed for ever."""
_PAUSE: Final = 2.0
"""Between two readings because of a key that is not known: anybody can ask for one."""
_PATIENCE: Final = 2.0
_MAX_BYTES: Final = 1024 * 1024


class KeySet:
    """`source`: the set itself, the path of a file, or an http(s) URL. Safe to share between threads.

    Raises ConfigurationError for a text that is no set.
    """

    def __init__(self, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] | None = None
        self._read_at = 0.0
        self._lock = threading.Lock()
        if not source or _is_inline(source):
            parse_keys(source)

    def find(self, kid: str) -> jwt.PyJWK | None:
        """None for a key that is not in the set. Raises Unavailable while the set was never read, ConfigurationError
        for what is none."""
        keys = self._keys
        age = self._clock() - self._read_at
        if keys is None or age > _SECONDS or (kid not in keys and age > _PAUSE):
            keys = self._refreshed()
        return keys.get(kid)

    def _refreshed(self) -> dict[str, jwt.PyJWK]:
        with self._lock:
            keys = self._keys
            if keys is None or self._clock() - self._read_at > _PAUSE:
                keys = self._keys = self._read_again(keys)
                self._read_at = self._clock()
            return keys

    def _read_again(self, known: dict[str, jwt.PyJWK] | None) -> dict[str, jwt.PyJWK]:
        try:
            return parse_keys(_read(self._source))
        except (OSError, ValueError, ConfigurationError) as error:
            if known is not None:
                _log.error("the key set %s cannot be read; the known keys stay: %s", self._source, error)
                return known
            if isinstance(error, ConfigurationError):
                raise
            raise Unavailable("The keys that tokens are checked with cannot be read just now; try again.") from error


def parse_keys(text: str | bytes) -> dict[str, jwt.PyJWK]:
    """Keys by `kid`; each must name its algorithm, so that a token cannot choose how it is checked."""
    try:
        keys = [(str(key["kid"]), str(key["alg"]), key) for key in json.loads(text)["keys"]]
        return {kid: jwt.PyJWK(key, algorithm) for kid, algorithm, key in keys}
    except (ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
        raise ConfigurationError(f"The key set is not a JWKS whose keys have kid and alg: {error!r}.") from error


def _is_inline(source: str) -> bool:
    return source.lstrip().startswith(("{", "["))


def _read(source: str) -> bytes:
    if _is_inline(source):
        return source.encode()
    if not source.startswith(("http://", "https://")):
        return Path(source).read_bytes()
    with urllib.request.urlopen(source, timeout=_PATIENCE) as response:
        return bytes(response.read(_MAX_BYTES))
