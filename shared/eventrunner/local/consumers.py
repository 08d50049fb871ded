"""Runs the tenants' consumers of the registry on this machine, whatever comes and goes there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from eventrunner.errors import EventRunnerError, InvalidInput
from eventrunner.local.consumer import ConsumerHost, RunningConsumer, reason_of
from eventrunner.local.tasks import start_task
from eventrunner.source.tenant_durables import durables_of, remove_orphans
from eventrunner.storage.bucket_watch import BucketWatch, Change
from eventrunner.storage.records import CONSUMERS, SIGNING_KEYS, Consumer
from eventrunner.storage.registry import Registry

__all__ = ["Consumers"]

_log = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 1.0
_SWEEP_SECONDS: Final = 30.0


class Consumers:
    def __init__(self, registry: Registry, host: ConsumerHost) -> None:
        self._host = host
        self._watch: BucketWatch = registry.follow(CONSUMERS, self._changed)
        self._keys: BucketWatch = registry.follow(SIGNING_KEYS, self._key_changed)
        self._running: dict[str, RunningConsumer] = {}
        self._by_service: dict[str, RunningConsumer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Returns when it is known what there is to run. To be called before the adapter starts, which ends sources
        whose files go. Raises Unavailable."""
        for file in self._host.folder.glob("*.yaml"):
            # Of the platform that ran here before, and had other addresses.
            file.unlink()
        await self._host.board.load()
        for watch in (self._watch, self._keys):
            self._spawn(watch.run())
            await watch.loaded.wait()
        for key in self._host.board.known.keys() - self._watch.state.keys():
            self._host.board.forget(key)
        await self._sweep()
        for work in (self._host.board.run(), self._keep_looking(), self._keep_sweeping()):
            self._spawn(work)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def answered(self, service: str, status: int, body: bytes) -> None:
        """Whether a module can be run may change without any upload: a key is revoked, say."""
        running = self._by_service.get(service)
        known = self._host.board.known.get(running.key) if running is not None else None
        if running is None or known is None or known.state == "starting":
            return
        reason = reason_of(status, body)
        self._host.board.say(running.key, "failed" if reason else "ready", reason)

    def _changed(self, change: Change) -> None:
        record = _read(change)
        running = self._running.get(change.key)
        if running is None and record is not None:
            running = RunningConsumer(record.tenant, record.name, self._host)
            self._running[change.key] = self._by_service[running.service] = running
            self._spawn(self._run(running))
        if running is not None:
            running.want(record)

    def _key_changed(self, change: Change) -> None:
        """What a revoked key has signed runs no more, and what has failed for want of a key may run now."""
        if not self._keys.loaded.is_set():
            return
        tenant, _, key = change.key.partition(".")
        for running in self._running.values():
            value, known = self._watch.state.get(running.key), self._host.board.known.get(running.key)
            if value is None or known is None or not running.key.startswith(f"{tenant}."):
                continue
            if known.state == "failed" if change.value is not None else _signed_by(value) == key:
                running.doubt()

    async def _run(self, running: RunningConsumer) -> None:
        await running.run()
        del self._running[running.key], self._by_service[running.service]

    async def _keep_looking(self) -> None:
        board, revisions = self._host.board, self._host.activator.revisions
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for running in self._running.values():
                known, revision = board.known.get(running.key), revisions.get(running.service)
                if known is not None and revision is not None and known.replicas != len(revision.replicas):
                    board.say(running.key, known.state, known.detail, replicas=len(revision.replicas))

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            await self._sweep()

    async def _sweep(self) -> None:
        """The adapter removes the durable consumer of a source that goes, unless it is killed just then."""
        try:
            await remove_orphans(self._host.api, durables_of(self._records()))
        except EventRunnerError as error:
            _log.warning("what removed consumers have left cannot be removed just now: %s", error)

    def _records(self) -> Iterable[Consumer]:
        """Also those that somebody else runs."""
        for key, value in self._watch.state.items():
            try:
                yield Consumer.from_json(value)
            except InvalidInput as error:
                _log.warning("consumer %s: %s", key, error)

    def _spawn(self, work: object) -> None:
        task = start_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _signed_by(value: bytes) -> str:
    try:
        return Consumer.from_json(value).signed_by
    except InvalidInput:
        return ""


def _read(change: Change) -> Consumer | None:
    """None for one that is not to be run here."""
    if change.value is None:
        return None
    try:
        record = Consumer.from_json(change.value)
    except InvalidInput as error:
        _log.error("consumer %s is not run: %s", change.key, error)
        return None
    return record if record.module is not None else None
