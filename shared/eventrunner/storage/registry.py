"""The registry: tenants, keys, plans, rule sets and consumers in JetStream key-value buckets.

`Registry` is for asyncio programs; functions have a `Mirror` of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

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

from eventrunner.errors import Conflict, FieldError, InvalidInput, Unavailable
from eventrunner.storage.bucket_watch import BucketWatch, Change
from eventrunner.storage.jetstream import JetStreamApi, JetStreamError, connect, disconnect, without_secrets

__all__ = ["Change", "Registry"]

_TIMEOUT = 5.0
_WRONG_LAST_SEQUENCE = (10071, 10164)
"""Error codes of the server: the subject has a later message than the one expected, or another one on its way."""


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
