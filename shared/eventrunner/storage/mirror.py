"""The registry as functions read it: a thread of its own follows some buckets, so that a look-up costs nothing and a
change is seen at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from nats.aio.client import Client

from eventrunner.errors import EventRunnerError, Unavailable
from eventrunner.storage.bucket_watch import BucketWatch, Change
from eventrunner.storage.jetstream import JetStreamApi, without_secrets
from eventrunner.storage.registry import Registry

__all__ = ["Mirror"]

_log = logging.getLogger(__name__)

_TIMEOUT = 5.0
_SEEN_TIMEOUT = 1.0
T = TypeVar("T")


class Mirror:
    """Follows buckets from a thread of its own; every method may be called from any thread and starts it if need be.

    Once loaded it serves the last known state, whatever becomes of NATS, and catches up when NATS is back. Nothing is
    started before the first use, because a function is imported before its server forks.
    """

    def __init__(self, nats_url: str, buckets: Sequence[str], *, timeout: float = _TIMEOUT) -> None:
        self._nats_url = nats_url
        self._buckets = tuple(buckets)
        self._timeout = timeout
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._registry: Registry | None = None
        self._watches: dict[str, BucketWatch] = {}
        self._loaded = threading.Event()
        self._thread: threading.Thread | None = None
        self._closing = asyncio.Event()
        self._callbacks: list[Callable[[Change], None]] = []

    def start(self) -> None:
        """Returns when all buckets are loaded. Raises Unavailable if that takes too long; the thread goes on trying."""
        if self._loaded.is_set():
            return
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._run, args=(self._loop,), name="registry", daemon=True)
                self._thread.start()
        if not self._loaded.wait(self._timeout):
            self._log_absence()
            raise Unavailable("The registry cannot be read just now; nothing was done. Try again.")

    @property
    def is_loaded(self) -> bool:
        """Whether reading waits for nothing."""
        return self._loaded.is_set()

    def get(self, bucket: str, key: str) -> bytes | None:
        """The same object as before until the value changes."""
        return self.items(bucket).get(key)

    def items(self, bucket: str) -> Mapping[str, bytes]:
        """A snapshot; the same object as before until some value changes."""
        self.start()
        return self._watches[bucket].state

    def on_change(self, callback: Callable[[Change], None]) -> None:
        """Calls it from the mirror's thread for every later change; it must return at once."""
        self._callbacks.append(callback)

    def put(self, bucket: str, key: str, value: bytes) -> int:
        """Returns the revision, when this mirror shows it. Raises Unavailable."""
        return self._write(bucket, lambda registry: registry.put(bucket, key, value))

    def put_later(self, bucket: str, key: str, value: bytes) -> None:
        """Returns at once; what cannot be written, or is written before anything was read, is lost."""
        if self._loop is not None and self._registry is not None:
            asyncio.run_coroutine_threadsafe(self._put_or_log(bucket, key, value), self._loop)

    async def _put_or_log(self, bucket: str, key: str, value: bytes) -> None:
        try:
            await self._ready().put(bucket, key, value)
        except EventRunnerError as error:
            _log.warning("%s", error)

    def create(self, bucket: str, key: str, value: bytes) -> int:
        """Raises Conflict when the key has a value, Unavailable."""
        return self._write(bucket, lambda registry: registry.create(bucket, key, value))

    def update(self, bucket: str, key: str, value: bytes, revision: int) -> int:
        """Raises Conflict when the key has been written since that revision (0: ever), Unavailable."""
        return self._write(bucket, lambda registry: registry.update(bucket, key, value, revision))

    def among(self, bucket: str, owner: str) -> tuple[Mapping[str, bytes], int]:
        """The values of the keys `<owner>.<name>` by name, and their last revision, to write with `update_among`."""
        self.start()
        watch = self._watches[bucket]
        last, prefix = watch.last(owner), f"{owner}."
        return {key[len(prefix) :]: value for key, value in watch.state.items() if key.startswith(prefix)}, last

    def among_now(self, bucket: str, owner: str) -> tuple[Mapping[str, bytes], int]:
        """The same from the server, for when the mirror is behind. Raises Unavailable."""
        self.start()
        return self._call(self._ready().among(bucket, owner), 2 * self._timeout)

    def update_among(self, bucket: str, key: str, value: bytes, last: int) -> int:
        """Raises Conflict when any key of the owner of this one has been written or deleted since that revision,
        Unavailable."""
        return self._write(bucket, lambda registry: registry.update_among(bucket, key, value, last))

    def catch_up(self, bucket: str) -> None:
        """Returns when this mirror shows all that was written before the call. Raises Unavailable."""
        self.start()

        async def reach() -> None:
            info = await JetStreamApi(self._ready().client).request(f"STREAM.INFO.KV_{bucket}")
            await self._watches[bucket].reached(int(info["state"]["last_seq"]))

        self._call(reach())

    def entry(self, bucket: str, key: str) -> tuple[bytes, int] | None:
        """Value and revision from the server, to write with `update`. Raises Unavailable."""
        self.start()
        return self._call(self._ready().entry(bucket, key))

    def delete(self, bucket: str, key: str, revision: int | None = None) -> int:
        """Deleting what is not there is no error. Raises Conflict when a revision is given and the key has been
        written since, Unavailable."""
        return self._write(bucket, lambda registry: registry.delete(bucket, key, revision))

    def run(self, work: Callable[[Client], Coroutine[Any, Any, T]], timeout: float = _TIMEOUT) -> T:
        """Does some other work over the mirror's connection. Raises Unavailable when it takes longer than `timeout`
        seconds, and what the work raises."""
        self.start()
        return self._call(work(self._ready().client), timeout)

    def purge(self, bucket: str, key: str, revision: int | None = None) -> int:
        """Like `delete`, and deletes the history too."""
        return self._write(bucket, lambda registry: registry.purge(bucket, key, revision))

    def forget(self, bucket: str, key: str, revision: int) -> None:
        """Removes what was written up to that revision and leaves no marker, so that those who follow the bucket do
        not hear of it. Raises Unavailable."""
        self.start()
        self._call(self._ready().forget(bucket, key, revision))

    def count(self, bucket: str, keys: str) -> int:
        """How many keys fit the pattern, such as `acme.*`, deleted ones among them. Raises Unavailable."""
        self.start()
        return self._call(self._ready().count(bucket, keys))

    def purge_subject(self, stream: str, subject: str) -> int:
        """Deletes the stream's messages on the subject; returns how many. Raises Unavailable."""
        self.start()
        return self._call(self._ready().purge_subject(stream, subject))

    def close(self) -> None:
        """Ends the thread; the mirror cannot be used again."""
        if self._loop is None or self._thread is None:
            return
        with contextlib.suppress(RuntimeError):  # The loop is closed already.
            self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(self._timeout)

    def _ready(self) -> Registry:
        assert self._registry is not None
        return self._registry

    def _write(self, bucket: str, write: Callable[[Registry], Coroutine[Any, Any, int]]) -> int:
        self.start()

        async def write_and_see() -> int:
            revision = await write(self._ready())
            if bucket in self._watches:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_SEEN_TIMEOUT):
                        await self._watches[bucket].reached(revision)
            return revision

        return self._call(write_and_see())

    def _call(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout or self._timeout)
        except TimeoutError:
            future.cancel()
            self._log_absence()
            raise Unavailable("The registry does not answer just now. Try again.") from None

    def _log_absence(self) -> None:
        # Not in the error, which a client sees: where NATS is concerns those who run the platform.
        _log.warning("no answer from %s for the buckets %s", without_secrets(self._nats_url), ", ".join(self._buckets))

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        # The runner ends the client's own tasks too before it closes the loop.
        with asyncio.Runner(loop_factory=lambda: loop) as runner, contextlib.suppress(asyncio.CancelledError):
            runner.run(self._until_closed())

    async def _until_closed(self) -> None:
        following = asyncio.create_task(self._follow())
        closing = asyncio.create_task(self._closing.wait())
        await asyncio.wait((following, closing), return_when=asyncio.FIRST_COMPLETED)
        following.cancel()
        await following

    async def _follow(self) -> None:
        while self._registry is None:
            try:
                self._registry = await Registry.connect(self._nats_url)
            except Unavailable as error:
                _log.warning("%s Trying again.", error)
        self._watches = {bucket: self._registry.follow(bucket, self._changed) for bucket in self._buckets}
        try:
            async with asyncio.TaskGroup() as group:
                for watch in self._watches.values():
                    group.create_task(watch.run())
                for watch in self._watches.values():
                    await watch.loaded.wait()
                self._loaded.set()
        finally:
            await self._registry.close()

    def _changed(self, change: Change) -> None:
        for callback in self._callbacks:
            try:
                callback(change)
            except Exception:
                _log.exception("a callback failed on %s/%s", change.bucket, change.key)
