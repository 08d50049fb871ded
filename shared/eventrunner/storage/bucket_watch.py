"""The state of a key-value bucket, kept current.

Not nats-py's own watcher: that one does not survive a server that comes back without the watch's consumer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from eventrunner.errors import EventRunnerError
from eventrunner.storage.jetstream import JetStreamApi
from eventrunner.storage.pull import PullEnded, PullSubscription

__all__ = ["BucketWatch", "Change"]

_log = logging.getLogger(__name__)

_RETRY = 0.5
_TIMEOUT = 2.0
"""Short, because what was asked of a server that has died is not answered by the next leader."""
_BATCH = 512
_INACTIVE = 300 * 10**9
_HEARTBEAT = 1.0
"""Seconds. The consumer has one replica, so it dies with its server, and silence is all that tells."""


@dataclass(frozen=True, slots=True)
class Change:
    bucket: str
    key: str
    value: bytes | None
    """None: the key was deleted."""


class BucketWatch:
    """`run` until cancelled; `state` is a snapshot, replaced by another object with every change. `keys` are those to
    follow, as a pattern."""

    def __init__(self, client: Client, bucket: str, on_change: Callable[[Change], None], keys: str = ">") -> None:
        self.bucket = bucket
        self.state: Mapping[str, bytes] = MappingProxyType({})
        self.loaded = asyncio.Event()
        """Set once the whole bucket has been read."""
        self._client = client
        self._api = JetStreamApi(client, timeout=_TIMEOUT)
        self._on_change = on_change
        self._prefix = f"$KV.{bucket}."
        self._keys = keys
        self._loading: dict[str, bytes] | None = None
        self._revision = self._floor = 0
        self._last: dict[str, int] = {}
        self._loading_last: dict[str, int] = {}
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._ended = asyncio.Event()
        self._more = asyncio.Event()
        self._pull = PullSubscription(client, self._receive, self._pull_ended, heartbeat=_HEARTBEAT)

    async def run(self) -> None:
        try:
            while True:
                await self._follow_once()
                await asyncio.sleep(_RETRY)
        finally:
            await self._pull.stop()

    def restart(self) -> None:
        """Reads the bucket again; to be called after a reconnect."""
        self._pull.forget()
        self._ended.set()

    async def reached(self, revision: int) -> None:
        """Returns when `state` holds what was written as this revision."""
        if self._revision < revision:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((revision, waiter))
            await waiter

    def last(self, owner: str) -> int:
        """The last revision of the keys `<owner>.…`, be it that one was deleted; 0 if there never was any. What is read
        from `state` afterwards is no older."""
        return self._last.get(owner, 0)

    async def _follow_once(self) -> None:
        """Reads the bucket and follows it until the consumer is gone."""
        self._ended.clear()
        try:
            pending = await self._start()
            if not pending:
                self._finish_loading()
                self._advance(self._floor)
            while not self._ended.is_set():
                if not self._pull.waiting:
                    await self._pull.request(_BATCH)
                await self._ended_or_drained()
        except (EventRunnerError, NatsError, OSError) as error:
            log = _log.debug if self.loaded.is_set() else _log.warning
            log("bucket %s: %s", self.bucket, error)

    async def _start(self) -> int:
        config = {
            "ack_policy": "none",
            "deliver_policy": "last_per_subject",
            "filter_subject": f"{self._prefix}{self._keys}",
            "replay_policy": "instant",
            "inactive_threshold": _INACTIVE,
            "mem_storage": True,
            "num_replicas": 1,
        }
        stream = f"KV_{self.bucket}"
        self._loading, self._loading_last = {}, {}
        # What is loaded is no older than this, though the last messages may have expired or been removed.
        self._floor = int((await self._api.request(f"STREAM.INFO.{stream}"))["state"]["last_seq"])
        info = await self._api.request(f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": config})
        await self._pull.start(stream, info["name"])
        return int(info["num_pending"])

    async def _ended_or_drained(self) -> None:
        """Returns when the consumer is gone or every message asked for has come."""
        self._more = asyncio.Event()
        waits = [asyncio.ensure_future(event.wait()) for event in (self._ended, self._more)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _receive(self, message: Msg) -> None:
        key = message.subject[len(self._prefix) :]
        deleted = message.headers is not None and message.headers.get("KV-Operation") in ("DEL", "PURGE")
        tokens = message.reply.split(".")
        # $JS.ACK.….<stream sequence>.<consumer sequence>.<time>.<pending>, with or without domain and account before.
        revision, pending = int(tokens[5 if len(tokens) == 9 else 7]), int(tokens[8 if len(tokens) == 9 else 10])
        owner = key.partition(".")[0]
        if self._loading is not None:
            self._loading_last[owner] = max(revision, self._loading_last.get(owner, 0))
            if not deleted:
                self._loading[key] = message.data
            if not pending:
                self._finish_loading()
        else:
            self._set(key, None if deleted else message.data)
            self._last[owner] = revision
        if self._loading is None:
            self._advance(max(revision, self._floor))
        if not self._pull.waiting:
            self._more.set()

    def _finish_loading(self) -> None:
        """Takes over what was read; equal values stay the same objects, so that readers may compare by identity."""
        loading, self._loading = self._loading or {}, None
        old = self.state
        new = {key: old[key] if old.get(key) == value else value for key, value in loading.items()}
        changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        if changed:
            self.state = MappingProxyType(new)
        self._last = self._loading_last
        self.loaded.set()
        for key in changed:
            self._on_change(Change(self.bucket, key, new.get(key)))

    def _set(self, key: str, value: bytes | None) -> None:
        if self.state.get(key) == value:
            return
        state = dict(self.state)
        if value is None:
            del state[key]
        else:
            state[key] = value
        self.state = MappingProxyType(state)
        self._on_change(Change(self.bucket, key, value))

    def _advance(self, revision: int) -> None:
        self._revision = revision
        if self._waiters:
            reached = [waiter for number, waiter in self._waiters if number <= revision]
            self._waiters = [item for item in self._waiters if item[0] > revision]
            for waiter in reached:
                if not waiter.done():
                    waiter.set_result(None)

    def _pull_ended(self, end: PullEnded) -> None:
        if end.consumer_gone:
            self._ended.set()
        self._more.set()
