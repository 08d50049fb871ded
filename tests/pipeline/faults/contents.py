"""What the platform holds at the end, read the way its users read it."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import aiohttp
import msgspec
from eventrunner.clock import utc_now
from eventrunner.events.packing import ENCODING, unpack
from eventrunner.storage.jetstream import JetStreamApi, JetStreamError, connect, disconnect

from tests.pipeline.faults.probe import Stuck
from tests.pipeline.faults.target import Target

__all__ = ["Contents", "Event", "Letters", "Usage", "read_contents"]

_PAGE: Final = 1000
_LIMIT: Final = 64 * 1024 * 1024
_PATIENCE: Final = 180.0


class Event(msgspec.Struct, frozen=True):
    id: str
    type: str = ""
    causeid: str = ""
    tenantid: str = ""


class _Page(msgspec.Struct):
    events: list[Event]
    next: str | None


class _Letter(msgspec.Struct):
    id: str
    tenantid: str
    type: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    knativeerrorcode: int = 0
    knativeerrordata: str = ""


@dataclass(slots=True)
class Letters:
    """Dead letters of a tenant."""

    failing: Counter[str] = field(default_factory=Counter)
    """Id → letters; likewise the others."""
    conflicts: Counter[str] = field(default_factory=Counter)
    unfit: dict[str, set[str]] = field(default_factory=dict)
    """Mark → ids."""
    others: list[str] = field(default_factory=list)

    def add(self, letter: _Letter) -> None:
        if letter.type == "loop":
            self.failing[letter.id] += 1
        elif letter.type == "eventrunner.raw":
            self.unfit.setdefault(msgspec.json.decode(letter.data)["mark"], set()).add(letter.id)
        elif letter.knativeerrorcode == 409:
            self.conflicts[letter.id] += 1
        else:
            self.others.append(f"{letter.type} {letter.id}: {letter.knativeerrorcode} {letter.knativeerrordata[:200]}")


@dataclass(frozen=True, slots=True)
class Usage:
    events: Decimal
    derived: Decimal
    ingress: Decimal
    billed_events: Decimal
    billed_derived: Decimal
    billed_gib: Decimal


@dataclass(frozen=True, slots=True)
class Contents:
    """Of one tenant."""

    stored: list[Event]
    """All pages of the event store, as they came."""
    results: list[Event]
    """Each of RESULTS once: between stages an event may come again."""
    analysed: list[Event]
    """Each key of ClickHouse once, as every query of ours takes it."""
    letters: Letters
    usage: Usage


async def read_contents(target: Target, tenants: Sequence[str]) -> dict[str, Contents]:
    """By tenant, when nothing is on its way any more. Raises Stuck."""
    await _drained(target)
    letters = await _dead_letters(target)
    results = _by_tenant(set(await _results(target)))
    analysed = _by_tenant(await _analysed(target))
    async with aiohttp.ClientSession() as session:
        return {
            tenant: Contents(
                await _stored(target, session, tenant),
                results.get(tenant, []),
                analysed.get(tenant, []),
                letters.get(tenant, Letters()),
                await _usage(target, session, tenant),
            )
            for tenant in tenants
        }


def _by_tenant(events: Iterable[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(event.tenantid, []).append(event)
    return found


async def _drained(target: Target) -> None:
    """Returns when nothing is on its way any more. Raises Stuck."""
    client = await connect(target.platform.nats, name="faults")
    try:
        async with asyncio.timeout(_PATIENCE):
            while left := await _left(JetStreamApi(client)):
                await asyncio.sleep(0.5)
    except TimeoutError:
        raise Stuck(f"after the load had ended, {left} were not worked off within {_PATIENCE:g} s") from None
    finally:
        await disconnect(client)


async def _left(api: JetStreamApi) -> dict[str, int]:
    """Messages that wait or are being worked on, by consumer."""
    left: dict[str, int] = {}
    for stream, consumer in (
        ("RAW", "event-runner"),
        ("EVENTS", "event-engine"),
        ("RESULTS", "analytics"),
        ("USAGE", "metering"),
    ):
        try:
            info = await api.request(f"CONSUMER.INFO.{stream}.{consumer}")
        except JetStreamError as error:
            if error.http_code != 404:
                raise
            continue
        if waiting := info["num_pending"] + info["num_ack_pending"]:
            left[consumer] = waiting
    return left


async def _stored(target: Target, session: aiohttp.ClientSession, tenant: str) -> list[Event]:
    decoder = msgspec.json.Decoder(_Page)
    events: list[Event] = []
    cursor = ""
    while True:
        path = f"/api/v1/events/{tenant}?limit={_PAGE}{cursor}"
        page = decoder.decode(await target.ask(session, path))
        events += page.events
        if page.next is None:
            return events
        cursor = f"&cursor={page.next}"


async def _usage(target: Target, session: aiohttp.ClientSession, tenant: str) -> Usage:
    now = utc_now()
    span = [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (now - timedelta(days=2), now + timedelta(days=2))]
    answer = json.loads(await target.ask(session, f"/api/v1/usage/{tenant}?from={span[0]}&to={span[1]}"))
    (row,) = answer["usage"]
    lines = json.loads(await target.ask(session, f"/api/v1/invoice/{tenant}?period={now:%Y-%m}"))["lines"]

    def billed(meter: str) -> Decimal:
        return sum((Decimal(line["quantity"]) for line in lines if line["meter"] == meter), Decimal())

    return Usage(
        Decimal(row["events"]),
        Decimal(row["derived"]),
        Decimal(row["network_ingress"]),
        billed("events"),
        billed("derived_events"),
        billed("ingress_gib"),
    )


async def _analysed(target: Target) -> list[Event]:
    sql = "SELECT DISTINCT tenantid, source, id, type, causeid FROM events FORMAT JSONEachRow"
    server, _, database = target.platform.clickhouse.rpartition("/")
    request = urllib.request.Request(f"{server}/?database={database}", data=sql.encode())

    def read() -> bytes:
        with urllib.request.urlopen(request, timeout=120) as response:
            body: bytes = response.read()
            return body

    return msgspec.json.Decoder(Event).decode_lines(await asyncio.to_thread(read))


async def _results(target: Target) -> list[Event]:
    decoder = msgspec.json.Decoder(list[Event])
    return [event for body in await _messages(target, "RESULTS", "results.>") for event in decoder.decode(body)]


async def _dead_letters(target: Target) -> dict[str, Letters]:
    decoder = msgspec.json.Decoder(_Letter)
    found: dict[str, Letters] = {}
    for body in await _messages(target, "DEADLETTER", "deadletter.>"):
        letter = decoder.decode(body)
        found.setdefault(letter.tenantid, Letters()).add(letter)
    return found


async def _messages(target: Target, stream: str, subject: str) -> list[bytes]:
    client = await connect(target.platform.nats, name="faults")
    try:
        state: dict[str, Any] = (await JetStreamApi(client).request(f"STREAM.INFO.{stream}"))["state"]
        subscription = await client.jetstream().subscribe(subject, ordered_consumer=True)
        bodies: list[bytes] = []
        while len(bodies) < state["messages"]:
            message = await subscription.next_msg(timeout=20)
            packed = (message.headers or {}).get("Content-Encoding") == ENCODING
            bodies.append(unpack(message.data, _LIMIT) if packed else message.data)
        return bodies
    finally:
        await disconnect(client)
