"""Stores publications and returns when JetStream has confirmed each of them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from eventrunner.source.publication import Publication
from eventrunner.storage.jetstream import is_status, status_of

__all__ = ["Publisher"]

_log = logging.getLogger(__name__)

_CONFIRM_TIMEOUT = 5.0
_PAUSE_MAX = 1.0


class _Error(msgspec.Struct):
    description: str = ""
    err_code: int = 0


class _PubAck(msgspec.Struct):
    error: _Error | None = None
    duplicate: bool = False


_decoder = msgspec.json.Decoder(_PubAck)


class Publisher:
    """For all sources of a connection: one inbox for every confirmation."""

    def __init__(self, client: Client, jitter: random.Random | None = None) -> None:
        self._client = client
        self._jitter = jitter or random.Random()
        self._inbox = client.new_inbox()
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._number = 0

    @property
    def max_payload(self) -> int:
        return int(self._client.max_payload)

    async def start(self) -> None:
        await self._client.subscribe(
            f"{self._inbox}.*", cb=self._confirmed, pending_msgs_limit=0, pending_bytes_limit=0
        )

    def reconnected(self) -> None:
        """No confirmation comes over the old connection any more; what waits for one is sent again at once."""
        for future in self._waiting.values():
            if not future.done():
                future.set_result("the connection was lost")

    async def store(self, publications: Sequence[Publication]) -> None:
        """Tries until every one is stored; what a full or absent stream refuses waits here, and its cause unacked."""
        left = list(publications)
        pause = 0.05
        while left:
            refused = await self._try(left)
            left = [publication for publication, _ in refused]
            if left:
                _log.warning(
                    "%d of %d messages not stored (%s); trying again", len(left), len(publications), refused[0][1]
                )
                await asyncio.sleep(pause * self._jitter.uniform(0.5, 1.0))
                pause = min(2 * pause, _PAUSE_MAX)

    async def _try(self, publications: Sequence[Publication]) -> list[tuple[Publication, str]]:
        """Those that were not stored, each with the reason."""
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[str]] = []
        tokens: list[str] = []
        try:
            for publication in publications:
                self._number += 1
                token = str(self._number)
                future: asyncio.Future[str] = loop.create_future()
                self._waiting[token] = future
                futures.append(future)
                tokens.append(token)
                try:
                    await self._client.publish(
                        publication.subject,
                        publication.body,
                        reply=f"{self._inbox}.{token}",
                        headers=publication.headers,
                    )
                except (NatsError, OSError) as error:
                    future.set_result(str(error) or type(error).__name__)
            await asyncio.wait(futures, timeout=_CONFIRM_TIMEOUT)
        finally:
            for token in tokens:
                self._waiting.pop(token, None)
        answers = [future.result() if future.done() else "no confirmation in time" for future in futures]
        return [(publication, answer) for publication, answer in zip(publications, answers, strict=True) if answer]

    async def _confirmed(self, message: Msg) -> None:
        future = self._waiting.get(message.subject.rpartition(".")[2])
        if future is not None and not future.done():
            future.set_result(_refusal(message))


def _refusal(message: Msg) -> str:
    """Why the server did not store; empty when it did."""
    if is_status(message):
        return f"no stream takes it (status {status_of(message)})"
    try:
        ack = _decoder.decode(message.data)
    except msgspec.DecodeError as error:
        return f"unreadable confirmation: {error}"
    return "" if ack.error is None else ack.error.description or f"error {ack.error.err_code}"
