"""The sources that an adapter runs at the moment. Each ends by itself, and one that fails touches no other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from eventrunner.source.spec import SourceSpec

__all__ = ["RunningSources"]

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Running:
    spec: SourceSpec
    stopping: asyncio.Event
    task: asyncio.Task[None]


@dataclass(slots=True)
class RunningSources:
    run: Callable[[SourceSpec, asyncio.Event], Awaitable[None]]
    """Runs one source until the event is set and what is under way is finished."""
    on_gone: Callable[[SourceSpec], Awaitable[None]]
    """Called when a source has ended that is not wanted any more."""
    _running: dict[str, _Running] = field(default_factory=dict)
    _ending: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def keep(self, wanted: Mapping[str, SourceSpec]) -> None:
        """Starts what is new, ends what is not wanted, and starts anew what is to be another way."""
        for name in [name for name, running in self._running.items() if wanted.get(name) != running.spec]:
            self._end(name, wanted.get(name))
        for name, spec in wanted.items():
            if name not in self._running:
                _log.info("%s: starting", name)
                self._start(spec)

    def specs(self) -> list[SourceSpec]:
        return [running.spec for running in self._running.values()]

    async def stop(self) -> None:
        """Returns when all have finished."""
        for running in self._running.values():
            running.stopping.set()
        await asyncio.gather(*self._tasks(), return_exceptions=True)

    async def cancel(self) -> None:
        for task in self._tasks():
            task.cancel()
        await asyncio.gather(*self._tasks(), return_exceptions=True)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [*(running.task for running in self._running.values()), *self._ending.values()]

    def _start(self, spec: SourceSpec) -> None:
        stopping = asyncio.Event()
        task = asyncio.create_task(self._run(spec, stopping, self._ending.get(spec.name)))
        self._running[spec.name] = _Running(spec, stopping, task)

    async def _run(self, spec: SourceSpec, stopping: asyncio.Event, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            # Two at once would hand the same events to the sink in two ways.
            await asyncio.wait([before])
        await self.run(spec, stopping)

    def _end(self, name: str, successor: SourceSpec | None) -> None:
        running = self._running.pop(name)
        running.stopping.set()
        ending = self._ending[name] = asyncio.create_task(self._finish(running, successor))
        ending.add_done_callback(lambda task: self._forget(name, task))

    async def _finish(self, running: _Running, successor: SourceSpec | None) -> None:
        spec = running.spec
        await asyncio.wait([running.task])
        goes_on = successor is not None and (successor.stream, successor.consumer) == (spec.stream, spec.consumer)
        if not goes_on:
            _log.info("%s: ended", spec.name)
            await self.on_gone(spec)

    def _forget(self, name: str, task: asyncio.Task[None]) -> None:
        if self._ending.get(name) is task:
            del self._ending[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s: could not be ended in order", name, exc_info=error)
