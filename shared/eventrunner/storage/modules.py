"""WebAssembly in the JetStream object store, under the name of its SHA-256: the same bytes lie there once, whoever's
they are, for as long as a consumer's record names them.

Whoever keeps bytes for a record does so before it writes the record and once more after it; whoever releases them puts
them back if a record names them by then. So in whatever order that happens, a record's bytes are there afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from functools import partial
from threading import Lock
from typing import Any, Final, TypeVar

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamFailure
from nats.js.errors import ObjectNotFoundError
from nats.js.object_store import ObjectStore

from eventrunner.errors import InvalidInput, Unavailable
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.records import CONSUMERS, Consumer
from eventrunner.storage.registry import Registry
from eventrunner.storage.stream_reader import read_stream

__all__ = ["ModuleStore", "module_name", "module_of", "read_module"]

_BUCKET: Final = "modules"
_TIMEOUT: Final = 5.0
"""Seconds for one message."""
_PATIENCE: Final = 60.0
"""Seconds for all of a module."""
_PIECES: Final = 64
_PIECES_BYTES: Final = 16 * 1024 * 1024
_writing: Final = Lock()
"""Of this process: of two who write the same at once, one would leave its pieces behind."""
T = TypeVar("T")


class ModuleStore:
    """Every call may raise Unavailable."""

    def __init__(self, registry: Mirror) -> None:
        self._registry = registry

    def keep(self, code: bytes) -> None:
        """Sees to it that the bytes are there."""
        name = module_name(code)

        async def put(store: ObjectStore) -> None:
            if not await _is_there(store, name):
                await store.put(name, code)

        with _writing:
            self._do(put)

    def read(self, name: str) -> bytes | None:
        """None also while somebody is writing or deleting them."""

        return self._registry.run(partial(read_module, name=name), _PATIENCE)

    def release(self, name: str) -> None:
        """Deletes the bytes unless a consumer's record names them."""
        if self._is_named(name) or (code := self.read(name)) is None:
            return

        async def delete(store: ObjectStore) -> None:
            if await _is_there(store, name):
                await store.delete(name)

        with _writing:
            self._do(delete)
        if self._is_named(name):
            self.keep(code)

    def _is_named(self, name: str) -> bool:
        """By a record as the server has it now: the mirror may be behind what another process has written."""

        async def records(client: Client) -> dict[str, bytes]:
            return await Registry(client).items(CONSUMERS)

        return any(module_of(record) == name for record in self._registry.run(records, 2 * _TIMEOUT).values())

    def _do(self, work: Callable[[ObjectStore], Coroutine[Any, Any, T]]) -> T:
        return self._registry.run(partial(_with_store, work=work), _PATIENCE)


async def read_module(client: Client, name: str) -> bytes | None:
    """None also while somebody is writing or deleting it. Raises Unavailable."""

    async def find(store: ObjectStore) -> str | None:
        try:
            return (await store.get_info(name)).nuid
        except ObjectNotFoundError:
            return None

    place = await _with_store(client, find)
    if place is None:
        return None
    code = await _pieces(client, f"$O.{_BUCKET}.C.{place}")
    return code if module_name(code) == name else None


async def _with_store(client: Client, work: Callable[[ObjectStore], Coroutine[Any, Any, T]]) -> T:
    try:
        return await work(await client.jetstream(timeout=_TIMEOUT).object_store(_BUCKET))
    except (NatsError, JetStreamFailure, OSError) as error:
        raise Unavailable(f"The modules cannot be stored or read just now: {error}. Try again.") from error


def module_name(code: bytes) -> str:
    return hashlib.sha256(code).hexdigest()


def module_of(record: bytes) -> str | None:
    """The name of a consumer's module."""
    try:
        module = Consumer.from_json(record).module
    except InvalidInput:
        return None
    return None if module is None else module.sha256


async def _pieces(client: Client, subject: str) -> bytes:
    """What is there of an object. nats-py's own reader waits for ever for pieces that are deleted meanwhile."""
    pieces: list[bytes] = []
    sequence = 1
    while found := await read_stream(
        client, f"OBJ_{_BUCKET}", subject, sequence=sequence, most=_PIECES, max_bytes=_PIECES_BYTES
    ):
        pieces += [piece.body for piece in found]
        sequence = found[-1].sequence + 1
    return b"".join(pieces)


async def _is_there(store: ObjectStore, name: str) -> bool:
    try:
        await store.get_info(name)
    except ObjectNotFoundError:
        return False
    return True
