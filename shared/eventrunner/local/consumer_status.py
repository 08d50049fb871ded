"""How tenants' consumers do, in the bucket `consumer_status`, for the API to show."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from eventrunner.clock import Clock, format_time, utc_now
from eventrunner.errors import EventRunnerError, InvalidInput
from eventrunner.storage.records import CONSUMER_STATUS, ConsumerStatus, skipped_key
from eventrunner.storage.registry import Registry

__all__ = ["StatusBoard"]

_log = logging.getLogger(__name__)
_RETRY: Final = 1.0


@dataclass(slots=True)
class StatusBoard:
    """Saying something costs nothing; what has changed is written from a task of its own, the latest word only."""

    registry: Registry
    clock: Clock = utc_now
    _known: dict[str, ConsumerStatus] = field(default_factory=dict)
    _unwritten: set[str] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def load(self) -> None:
        """What was said before this start, when nothing was running yet. Raises Unavailable."""
        for key, value in (await self.registry.items(CONSUMER_STATUS)).items():
            if key.count(".") > 1:
                continue
            try:
                status = ConsumerStatus.from_json(value)
            except InvalidInput as error:
                _log.warning("the status of %s: %s", key, error)
                self.forget(key)
                continue
            self._known[key] = status
            if status.replicas:
                self.say(key, status.state, status.detail, of=status.of, replicas=0)

    @property
    def known(self) -> Mapping[str, ConsumerStatus]:
        return self._known

    def say(
        self, key: str, state: str, detail: str = "", *, of: str | None = None, replicas: int | None = None
    ) -> None:
        """What is not given stays as it is."""
        old = self._known.get(key)
        of = (old.of if old else "") if of is None else of
        replicas = (old.replicas if old else 0) if replicas is None else replicas
        if old is not None and (old.state, old.detail, old.of, old.replicas) == (state, detail, of, replicas):
            return
        updated = format_time(self.clock())
        self._known[key] = ConsumerStatus(state, replicas, detail, updated, of)  # type: ignore[arg-type]
        self._note(key)

    def forget(self, key: str) -> None:
        self._known.pop(key, None)
        self._note(key)

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            if not await self._write_all():
                await asyncio.sleep(_RETRY)
                self._news.set()

    def _note(self, key: str) -> None:
        self._unwritten.add(key)
        self._news.set()

    async def _write_all(self) -> bool:
        for key in list(self._unwritten):
            self._unwritten.discard(key)
            status = self._known.get(key)
            try:
                if status is None:
                    for gone in (key, skipped_key(*key.split("."))):
                        await self.registry.purge(CONSUMER_STATUS, gone)
                else:
                    await self.registry.put(CONSUMER_STATUS, key, status.to_json())
            except EventRunnerError as error:
                _log.debug("the status of %s is written later: %s", key, error)
                self._unwritten.add(key)
                return False
        return True
