"""What the platform holds of a tenant at the end, asked for the way its users ask."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from eventrunner.clock import utc_now
from eventrunner.storage.analytics import Analytics, EventCounts

from tests.pipeline.faults.letters import Letter, Letters
from tests.pipeline.faults.places import Found, Place
from tests.pipeline.faults.streams import Streams
from tests.pipeline.faults.target import Target

__all__ = ["Contents", "Reader"]

T = TypeVar("T")
_PAGE: Final = 1000
_TIMEOUT: Final = 300


class _Page(msgspec.Struct):
    events: list[Found]
    next: str | None


class _LetterPage(msgspec.Struct):
    dead_letters: list[Letter]
    next: str | None


class _Row(msgspec.Struct):
    id: str
    source: str
    type: str
    subject: str
    data: str
    causeid: str
    replayid: str

    def event(self) -> Found:
        data = msgspec.Raw(self.data.encode())
        return Found(self.id, self.source, self.type, self.subject, data, self.causeid, self.replayid)


@dataclass(slots=True)
class Contents:
    """Of one tenant."""

    stored: Place = field(default_factory=lambda: Place("the event store"))
    """What `GET /api/v1/events` lists."""
    results: Place = field(default_factory=lambda: Place("RESULTS", once=False))
    analysed: Place = field(default_factory=lambda: Place("ClickHouse", once=False))
    """The rows as they were written; what users are told of them is in `answers`."""
    letters: Letters = field(default_factory=Letters)
    answers: dict[str, Decimal] = field(default_factory=dict)
    """Numbers that users ask for, by what they say."""


@dataclass(slots=True)
class Reader:
    """Use when nothing is on its way any more. Every method may raise Unavailable."""

    target: Target
    streams: Streams

    async def read(self, tenant: str) -> Contents:
        contents = Contents()
        async with aiohttp.ClientSession() as session:
            async for page in self._pages(session, f"/api/v1/events/{tenant}", _Page):
                for event in page.events:
                    contents.stored.add(event)
            async for letters in self._pages(session, f"/api/v1/dead-letters/{tenant}", _LetterPage):
                for letter in letters.dead_letters:
                    contents.letters.add(letter)
            contents.answers |= await self._usage(session, tenant)
            contents.answers |= await self._invoice(session, tenant)
        async for event in self.streams.results(tenant):
            contents.results.add(event)
        contents.answers |= await asyncio.to_thread(self._analytics, tenant, contents.analysed)
        return contents

    async def _pages(self, session: aiohttp.ClientSession, path: str, kind: type[T]) -> AsyncIterator[T]:
        decoder = msgspec.json.Decoder(kind)
        cursor: str | None = ""
        while cursor is not None:
            question = f"{path}?limit={_PAGE}" + (f"&cursor={cursor}" if cursor else "")
            page: Any = decoder.decode(await self.target.ask(session, question))
            yield page
            cursor = page.next

    async def _usage(self, session: aiohttp.ClientSession, tenant: str) -> dict[str, Decimal]:
        answers = {}
        now = utc_now()
        span = f"from={_time(now - timedelta(days=2))}&to={_time(now + timedelta(days=2))}"
        for name, parameters in (("", ""), (" by minute", "&window=minute"), (" by type", "&group_by=type")):
            answer = json.loads(await self.target.ask(session, f"/api/v1/usage/{tenant}?{span}{parameters}"))
            for what, key in (("events", "events"), ("derived events", "derived"), ("bytes", "network_ingress")):
                answers[f"{what} in usage{name}"] = sum((Decimal(row[key]) for row in answer["usage"]), Decimal())
        answers["orders in usage by type"] = sum(
            (Decimal(row["events"]) for row in answer["usage"] if row["type"] == "order"), Decimal()
        )
        return answers

    async def _invoice(self, session: aiohttp.ClientSession, tenant: str) -> dict[str, Decimal]:
        path = f"/api/v1/invoice/{tenant}?period={utc_now():%Y-%m}"
        lines = json.loads(await self.target.ask(session, path))["lines"]

        def billed(meter: str) -> Decimal:
            return sum((Decimal(line["quantity"]) for line in lines if line["meter"] == meter), Decimal())

        return {
            "events on the invoice": billed("events"),
            "derived events on the invoice": billed("derived_events"),
            "GiB on the invoice": billed("ingress_gib"),
        }

    def _analytics(self, tenant: str, rows: Place) -> dict[str, Decimal]:
        for row in self._query(
            f"SELECT id, source, type, subject, data, causeid, replayid FROM events WHERE tenantid = '{tenant}'", _Row
        ):
            rows.add(row.event())
        view = (
            f"SELECT toString(toDecimal64(sum(network_ingress), 0)) AS n FROM tenant_usage WHERE tenant_id = '{tenant}'"
        )
        (total,) = self._query(view, dict[str, str])
        analytics = Analytics(self.target.platform.clickhouse)
        try:
            counts = analytics.counts().get(tenant, EventCounts(0, 0))
        finally:
            analytics.close()
        return {
            "events of Analytics.counts()": Decimal(counts.events),
            "derived events of Analytics.counts()": Decimal(counts.derived),
            "bytes in the view tenant_usage": Decimal(total["n"]),
        }

    def _query(self, sql: str, kind: type[T]) -> Iterator[T]:
        decoder = msgspec.json.Decoder(kind)
        server, _, database = self.target.platform.clickhouse.rpartition("/")
        body = f"{sql} FORMAT JSONEachRow".encode()
        request = urllib.request.Request(f"{server}/?database={database}", data=body)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            for line in response:
                yield decoder.decode(line)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
