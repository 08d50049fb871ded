"""Sends NDJSON batches, packed when that pays, to the public API over a few connections, and tries again what the
platform asks to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from eventrunner.errors import EventRunnerError, Unavailable
from eventrunner.events.packing import ENCODING, WORTH, pack

__all__ = ["Batch", "SendFailed", "SendReport", "Sender", "cut"]

_TRIES = 8
_LONGEST_WAIT = 10.0
_RETRYABLE = (429, 503)
_ABOUT_THE_EVENTS = (400, 413, 422)
_MOST_BYTES = 4 * 1024 * 1024
"""Of a batch with more than one line; a body may have 8 MiB."""


class SendFailed(EventRunnerError):
    """The platform refused a batch for good."""

    code = "send-failed"


@dataclass(frozen=True, slots=True)
class Batch:
    key: str
    """API key to send it with."""
    body: bytes
    """NDJSON."""
    count: int
    query: str = ""
    """Query string of the request."""
    first: int = 0
    """Place of its first event among all that are sent."""


@dataclass(slots=True)
class SendReport:
    accepted: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)
    """As the platform names them, with `index` among all that were sent."""
    seconds: float = 0.0


class Sender:
    """`url` is the base of the platform; `connections` requests are in flight at most.

    `passes_over_refused`: events that the platform refuses are reported, even when they are all of a batch.
    """

    def __init__(self, url: str, *, connections: int = 4, passes_over_refused: bool = False) -> None:
        self._passes_over_refused = passes_over_refused
        self._target = f"{url.rstrip('/')}/api/v1/events"
        self._connections = connections

    async def send(
        self,
        batches: Iterable[Batch],
        *,
        rate: float | None = None,
        on_accepted: Callable[[Batch, float], None] | None = None,
    ) -> SendReport:
        """Sends all batches, `rate` events per second when given, else as fast as answers come.

        `on_accepted(batch, moment)` is called with the time (`time.perf_counter`) of each 202.
        Raises SendFailed for a batch that is refused for good and Unavailable when the platform stays away.
        """
        report = SendReport()
        started = time.perf_counter()
        source = _Paced(batches, rate)
        connector = aiohttp.TCPConnector(limit=self._connections)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:

            async def work() -> None:
                async for batch in source:
                    await self._send_one(session, batch, report)
                    if on_accepted is not None:
                        on_accepted(batch, time.perf_counter())

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._connections):
                        group.create_task(work())
            except ExceptionGroup as failed:
                # One connection's failure ends the others; the first is the one to tell.
                raise failed.exceptions[0] from failed
        report.seconds = time.perf_counter() - started
        return report

    async def _send_one(self, session: aiohttp.ClientSession, batch: Batch, report: SendReport) -> None:
        headers = {"Authorization": f"Bearer {batch.key}", "Content-Type": "application/x-ndjson"}
        body = batch.body
        if len(body) >= WORTH:
            headers["Content-Encoding"] = ENCODING
            body = pack(body)
        target = f"{self._target}?{batch.query}" if batch.query else self._target
        reason = ""
        for attempt in range(_TRIES):
            try:
                async with session.post(target, data=body, headers=headers) as response:
                    answer = await response.json(content_type=None)
                    if response.status == 202:
                        report.accepted += answer["accepted"]
                        report.rejected += _placed(answer["rejected"], batch)
                        return
                    if response.status in _ABOUT_THE_EVENTS and self._passes_over_refused:
                        report.rejected += _placed(_all_rejected(answer, batch.count), batch)
                        return
                    reason = f"{response.status} {answer.get('detail', '') if isinstance(answer, dict) else answer}"
                    if response.status not in _RETRYABLE:
                        raise SendFailed(f"The platform refused a batch: {reason}")
                    wait = float(response.headers.get("Retry-After", 1))
            except aiohttp.ClientError as error:
                reason, wait = str(error), 0.25 * 2**attempt
            await asyncio.sleep(min(wait, _LONGEST_WAIT))
        raise Unavailable(f"The platform did not take a batch after {_TRIES} tries: {reason}")


class _Paced:
    """Hands the batches to all connections, each no earlier than the rate allows."""

    def __init__(self, batches: Iterable[Batch], rate: float | None) -> None:
        self._batches = iter(batches)
        self._rate = rate
        self._started = time.perf_counter()
        self._handed = 0

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        batch = next(self._batches, None)
        if batch is None:
            raise StopAsyncIteration
        if self._rate is not None:
            due = self._started + self._handed / self._rate
            # Counted before the pause, so that others who ask meanwhile wait for their own moment.
            self._handed += batch.count
            if (pause := due - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
        return batch


def cut(lines: Iterable[bytes], key: str, size: int, query: str = "") -> Iterator[Batch]:
    """Groups lines of NDJSON into batches of `size`, fewer where they are long."""
    group: list[bytes] = []
    first = length = 0
    for line in lines:
        if group and (len(group) == size or length + len(line) >= _MOST_BYTES):
            yield Batch(key, b"\n".join(group), len(group), query, first)
            first += len(group)
            group, length = [], 0
        group.append(line)
        length += len(line) + 1
    if group:
        yield Batch(key, b"\n".join(group), len(group), query, first)


def _placed(rejected: list[dict[str, Any]], batch: Batch) -> list[dict[str, Any]]:
    return [{**item, "index": item["index"] + batch.first} for item in rejected]


def _all_rejected(problem: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Of a batch that was refused as a whole; the problem document may say of each event why."""
    reasons = {item["field"]: item["message"] for item in problem.get("errors", ())}
    return [{"index": n, "id": None, "error": reasons.get(f"[{n}]", problem["detail"])} for n in range(count)]
