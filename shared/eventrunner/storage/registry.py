"""The registry: tenants, keys, plans, rule sets and consumers in JetStream key-value buckets.

`Registry` is for asyncio programs. `Mirror` is for functions: a thread of its own follows some buckets, so that a
look-up costs nothing and a change is seen at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import (
    BadRequestError,
    BucketNotFoundError,
    InvalidKeyError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NoStreamResponseError,
)
from nats.js.kv import KeyValue

from eventrunner.errors import Conflict, EventRunnerError, FieldError, InvalidInput, Unavailable
from eventrunner.storage.bucket_watch import BucketWatch, Change
from eventrunner.storage.jetstream import JetStreamApi, JetStreamError, connect, disconnect, without_secrets

__all__ = ["Change", "Mirror", "Registry"]

_log = logging.getLogger(__name__)

_TIMEOUT = 5.0
_SEEN_TIMEOUT = 1.0
_WRONG_LAST_SEQUENCE = (10071, 10164)
"""Error codes of the server: the subject has a later message than the one expected, or another one on its way."""
T = TypeVar("T")


class Registry:
    """Reads and writes buckets. Every call may raise Unavailable."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._buckets: dict[str, KeyValue] = {}
        self._watches: set[BucketWatch] = set()

    @classmethod
    async def connect(cls, nats_url: str) -> Registry:
        """Raises Unavailable when no server answers in time."""
        registry: Registry | None = None

        async def reconnected() -> None:
            if registry is not None:
                registry.rewatch()

        try:
            async with asyncio.timeout(_TIMEOUT):
                client = await connect(nats_url, name="eventrunner registry", on_reconnect=reconnected)
        except TimeoutError:
            raise Unavailable(f"No NATS server answers at {without_secrets(nats_url)}.") from None
        registry = cls(client)
        return registry

    @property
    def client(self) -> Client:
        return self._client

    async def get(self, bucket: str, key: str) -> bytes | None:
        entry = await self.entry(bucket, key)
        return None if entry is None else entry[0]

    async def entry(self, bucket: str, key: str) -> tuple[bytes, int] | None:
        """Value and revision."""
        with _translated(bucket, key):
            try:
                found = await (await self._bucket(bucket)).get(key)
            except KeyNotFoundError:
                return None
        return found.value or b"", found.revision or 0

    async def put(self, bucket: str, key: str, value: bytes) -> int:
        """Returns the revision."""
        with _translated(bucket, key):
            return await (await self._bucket(bucket)).put(key, value)

    async def create(self, bucket: str, key: str, value: bytes) -> int:
        """Raises Conflict when the key has a value."""
        with _translated(bucket, key):
            return await (await self._bucket(bucket)).create(key, value)

    async def update(self, bucket: str, key: str, value: bytes, revision: int) -> int:
        """Raises Conflict when the key has been written since that revision; 0: ever, be it deleted since."""
        with _translated(bucket, key):
            return await (await self._bucket(bucket)).update(key, value, last=revision)

    async def update_among(self, bucket: str, key: str, value: bytes, last: int) -> int:
        """Raises Conflict when any key of the owner of this one, `<owner>.<name>`, has been written or deleted since
        that revision."""
        headers = _expected(last)
        headers["Nats-Expected-Last-Subject-Sequence-Subject"] = f"$KV.{bucket}.{key.partition('.')[0]}.*"
        return await self._publish(bucket, key, value, headers)

    async def delete(self, bucket: str, key: str, revision: int | None = None) -> int:
        """Deleting what is not there is no error. Returns the revision. Raises Conflict when a revision is given and
        the key has been written since."""
        return await self._publish(bucket, key, b"", {"KV-Operation": "DEL"} | _expected(revision))

    async def purge(self, bucket: str, key: str, revision: int | None = None) -> int:
        """Like `delete`, and deletes the history too."""
        return await self._publish(
            bucket, key, b"", {"KV-Operation": "PURGE", "Nats-Rollup": "sub"} | _expected(revision)
        )

    async def _publish(self, bucket: str, key: str, value: bytes, headers: dict[str, str]) -> int:
        """For what nats-py's own calls cannot do, or keep the revision of to themselves."""
        with _translated(bucket, key):
            ack = await self._client.jetstream(timeout=_TIMEOUT).publish(f"$KV.{bucket}.{key}", value, headers=headers)
            return int(ack.seq)

    async def forget(self, bucket: str, key: str, revision: int) -> None:
        """Removes what was written up to that revision and leaves no marker, so that those who follow the bucket do
        not hear of it."""
        limits = {"filter": f"$KV.{bucket}.{key}", "seq": revision + 1}
        try:
            await JetStreamApi(self._client).request(f"STREAM.PURGE.KV_{bucket}", limits)
        except JetStreamError as error:
            raise Unavailable(f"The bucket {bucket} cannot be written: {error.description}.") from error

    async def count(self, bucket: str, keys: str) -> int:
        """How many keys fit the pattern, such as `acme.*`, deleted ones among them."""
        try:
            info = await JetStreamApi(self._client).request(
                f"STREAM.INFO.KV_{bucket}", {"subjects_filter": f"$KV.{bucket}.{keys}"}
            )
        except JetStreamError as error:
            raise Unavailable(f"The bucket {bucket} cannot be read: {error.description}.") from error
        return len(info["state"].get("subjects") or ())

    async def purge_subject(self, stream: str, subject: str) -> int:
        """Deletes the stream's messages on the subject. Returns how many."""
        try:
            answer = await JetStreamApi(self._client).request(f"STREAM.PURGE.{stream}", {"filter": subject})
        except JetStreamError as error:
            raise Unavailable(f"The stream {stream} cannot be purged: {error.description}.") from error
        return int(answer.get("purged", 0))

    async def items(self, bucket: str) -> dict[str, bytes]:
        """All keys and values, as of now."""
        return dict((await self._load(bucket, ">")).state)

    async def among(self, bucket: str, owner: str) -> tuple[dict[str, bytes], int]:
        """The values of the keys `<owner>.<name>` by name, as of now, and their last revision."""
        watch = await self._load(bucket, f"{owner}.*")
        return {key.partition(".")[2]: value for key, value in watch.state.items()}, watch.last(owner)

    async def _load(self, bucket: str, keys: str) -> BucketWatch:
        watch = self.follow(bucket, lambda change: None, keys)
        task = asyncio.create_task(watch.run())
        try:
            async with asyncio.timeout(_TIMEOUT):
                await watch.loaded.wait()
            return watch
        except TimeoutError:
            raise Unavailable(f"The bucket {bucket} cannot be read.") from None
        finally:
            await self._stop(watch, task)

    async def watch(self, bucket: str) -> AsyncIterator[Change]:
        """Every key as a change, then each change as it happens, without end."""
        queue: asyncio.Queue[Change] = asyncio.Queue()
        watch = self.follow(bucket, queue.put_nowait)
        task = asyncio.create_task(watch.run())
        try:
            while True:
                yield await queue.get()
        finally:
            await self._stop(watch, task)

    def follow(self, bucket: str, on_change: Callable[[Change], None], keys: str = ">") -> BucketWatch:
        """A watch that the caller runs; it goes on by itself after a reconnect."""
        watch = BucketWatch(self._client, bucket, on_change, keys)
        self._watches.add(watch)
        return watch

    def rewatch(self) -> None:
        for watch in self._watches:
            watch.restart()

    async def close(self) -> None:
        await disconnect(self._client)

    async def _stop(self, watch: BucketWatch, task: asyncio.Task[None]) -> None:
        self._watches.discard(watch)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _bucket(self, name: str) -> KeyValue:
        if name not in self._buckets:
            self._buckets[name] = await self._client.jetstream(timeout=_TIMEOUT).key_value(name)
        return self._buckets[name]


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


def _expected(revision: int | None) -> dict[str, str]:
    return {} if revision is None else {"Nats-Expected-Last-Subject-Sequence": str(revision)}


class _translated(contextlib.AbstractContextManager[None]):
    """Turns the client's errors into ours."""

    def __init__(self, bucket: str, key: str) -> None:
        self._bucket = bucket
        self._key = key

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InvalidKeyError):
            message = "letters, digits and - / _ = . only, no dot at an end"
            raise InvalidInput(f"{self._key!r} cannot be a key.", (FieldError("key", message),)) from error
        if isinstance(error, KeyWrongLastSequenceError) or (
            isinstance(error, BadRequestError) and error.err_code in _WRONG_LAST_SEQUENCE
        ):
            raise Conflict(f"{self._bucket}/{self._key} has been written by somebody else.") from error
        if isinstance(error, BucketNotFoundError | NoStreamResponseError):
            raise Unavailable(f"The bucket {self._bucket} is missing: run `eventrunner streams apply`.") from error
        if isinstance(error, NatsError | OSError | TimeoutError):
            reason = str(error) or type(error).__name__
            raise Unavailable(f"The bucket {self._bucket} cannot be reached: {reason}.") from error
