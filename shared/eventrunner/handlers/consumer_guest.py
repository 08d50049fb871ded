"""The guest that a consumer's record names, loaded when it is needed after a change of the record or of the keys that
its module may be signed with. Calls that are under way end on the guest that they began with."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from eventrunner.errors import InvalidInput, Unavailable
from eventrunner.storage.records import Consumer
from eventrunner.wasm.engine import Engine
from eventrunner.wasm.guest import Guest
from eventrunner.wasm.host import Host

__all__ = ["ActiveGuest", "Loaded", "Source"]

_log = logging.getLogger(__name__)
_RETRY_AFTER: Final = 5.0


@dataclass(frozen=True, slots=True)
class Loaded:
    record: Consumer
    host: Host


@dataclass(frozen=True, slots=True)
class Source:
    """Where what makes up a guest comes from."""

    record: Callable[[], bytes | None]
    """The same object until it changes."""
    keys: Callable[[], Mapping[str, bytes]]
    """Records of its tenant's signing keys, `<tenant>.<key id>`; the same object until one changes."""
    code: Callable[[str], bytes | None]
    """Of a module by its SHA-256; None when it is not there. May raise Unavailable."""
    compiled: Callable[[bytes, Iterable[bytes]], Guest]
    """Checks that the code is signed with one of these keys and compiles it. Raises InvalidInput."""


@dataclass(frozen=True, slots=True)
class _State:
    record: bytes
    keys: Mapping[str, bytes]
    loaded: Loaded | None
    problem: str = ""
    """Why it cannot run, until something changes."""


class ActiveGuest:
    """Safe to share between threads."""

    def __init__(self, name: str, engine: Engine, source: Source) -> None:
        """`name`: such as `acme/alerts`."""
        self._name = name
        self._engine = engine
        self._source = source
        self._state: _State | None = None
        self._lock = threading.Lock()

    def get(self) -> Loaded:
        """Raises Unavailable with the reason if it cannot be run as things are: its events wait."""
        state = self._state
        if state is None or not self._is_current(state):
            with self._lock:
                state = self._state
                if state is None or not self._is_current(state):
                    state = self._state = self._load(state)
        if state.loaded is None:
            raise Unavailable(f"Consumer {self._name} cannot run: {state.problem}", _RETRY_AFTER)
        return state.loaded

    def _is_current(self, state: _State) -> bool:
        return state.record is self._source.record() and state.keys is self._source.keys()

    def _load(self, before: _State | None) -> _State:
        """Raises Unavailable for what passes without a change."""
        record, keys = self._source.record(), self._source.keys()
        if record is None:
            raise Unavailable(f"There is no consumer {self._name}.", _RETRY_AFTER)
        try:
            return _State(record, keys, self._made(Consumer.from_json(record), keys, before))
        except InvalidInput as error:
            _log.error("%s cannot run: %s", self._name, error)
            return _State(record, keys, None, error.detail)

    def _made(self, record: Consumer, keys: Mapping[str, bytes], before: _State | None) -> Loaded:
        module = record.module
        if module is None:
            raise InvalidInput("it has no module; deploy it again.")
        if before is not None and before.loaded is not None and _is_same(before, record, keys):
            # Such as another time of writing: what runs may go on.
            return Loaded(record, before.loaded.host)
        code = self._source.code(module.sha256)
        if code is None:
            raise Unavailable(f"The module {module.sha256} of consumer {self._name} is not there yet.", _RETRY_AFTER)
        guest = self._source.compiled(code, _keys_of(record.tenant, keys).values())
        _log.info("%s runs module %s", self._name, module.sha256)
        return Loaded(record, Host(self._engine, guest, record.limits, record.instance))


def _is_same(before: _State, record: Consumer, keys: Mapping[str, bytes]) -> bool:
    """Whether what ran before is what the record wants now, and may still run."""
    assert before.loaded is not None
    old = before.loaded.record
    own = _keys_of(record.tenant, before.keys) == _keys_of(record.tenant, keys)
    return own and (old.module, old.limits, old.instance) == (record.module, record.limits, record.instance)


def _keys_of(tenant: str, keys: Mapping[str, bytes]) -> dict[str, bytes]:
    prefix = f"{tenant}."
    return {name: value for name, value in keys.items() if name.startswith(prefix)}
