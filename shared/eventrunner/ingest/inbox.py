"""What a stream has brought while what came before was being stored: the next batch, as large as the load makes it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final

__all__ = ["FAST", "Inbox"]

_MESSAGES: Final = 500
"""As many as one JetStream message has."""
_BYTES: Final = 1024 * 1024
"""Held of one stream. Nothing more is read meanwhile, so that HTTP/2's flow control stops the sender."""
_LINGER: Final = 0.002
"""Seconds until the next batch is taken, because reading is slower than storing and every batch is a message."""
FAST: Final = 10
"""Who has sent so many meanwhile is in for throughput, and a batch costs as much as many events."""
_LINGER_MORE: Final = 0.02


class Inbox:
    """Use as an asynchronous context manager; reads within."""

    def __init__(self, messages: AsyncIterator[bytes]) -> None:
        self._messages = messages
        self._held: list[bytes] = []
        self._bytes = 0
        self._ended = False
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._taken = asyncio.Event()

    async def __aenter__(self) -> Inbox:
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reading.cancel()
        await asyncio.wait([self._reading])

    async def take(self) -> list[bytes]:
        """Everything that has come; waits for something. Empty at the end of the stream."""
        while not self._held and not self._ended:
            self._arrived.clear()
            await self._arrived.wait()
        if not self._ended and not self._is_full:
            await asyncio.sleep(_LINGER)
            if len(self._held) >= FAST and not self._ended:
                await self._fill()
        if self._ended and not self._held:
            self._reading.result()
        batch, self._held, self._bytes = self._held, [], 0
        self._full.clear()
        self._taken.set()
        return batch

    async def _fill(self) -> None:
        """Returns when the batch is full, the stream ends, or the time for it is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_MORE):
                await self._full.wait()

    @property
    def _is_full(self) -> bool:
        return len(self._held) >= _MESSAGES or self._bytes >= _BYTES

    async def _read(self) -> None:
        try:
            async for message in self._messages:
                self._held.append(message)
                self._bytes += len(message)
                self._arrived.set()
                while self._is_full:
                    self._full.set()
                    self._taken.clear()
                    await self._taken.wait()
        finally:
            self._ended = True
            self._arrived.set()
            self._full.set()
