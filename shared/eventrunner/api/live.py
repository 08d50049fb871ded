"""A tenant's results as they come, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Whoever comes again with `Last-Event-ID` goes on where it was, for as long as RESULTS keeps the events. A stream ends
within seconds after a key of its caller is gone: functions are told who calls and not by which key, so that whoever has
another key, or a token, comes again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import msgspec
from flask import Request, Response
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from eventrunner.access.identity import Identity
from eventrunner.access.keys import is_held_by
from eventrunner.api.backend import Backend, check_own
from eventrunner.api.bodies import read_word, refuse_unknown
from eventrunner.api.places import Places
from eventrunner.clock import Clock
from eventrunner.errors import EventRunnerError, FieldError, InvalidInput, Unavailable
from eventrunner.events.costs import charged_batch
from eventrunner.events.headers import ONLY_HEADER
from eventrunner.events.json_format import split_batch
from eventrunner.events.packing import ENCODING
from eventrunner.storage.cursors import LAST_PLACE
from eventrunner.storage.jetstream import JetStreamApi, JetStreamError
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.records import KEYS, Key
from eventrunner.storage.stream_reader import StoredMessage, read_stream
from eventrunner.tenancy import RESULTS_STREAM, check_tenant, subject

__all__ = ["LiveCalls"]

_MOST_STREAMS = 16
"""At one time in a process: each holds one of its threads."""
_SECONDS = 240.0
"""Then the client comes again, before the platform's own limit of a request cuts it off."""
_QUIET_SECONDS = 3.0
"""Then something is written, so that a client that is gone soon gives its place free: the gateway between notices with
the first write, the server here with the second or third."""
_READ_MESSAGES = 64
_READ_BYTES = 4 * 1024 * 1024
_UNPACK_LIMIT = 64 * 1024 * 1024


class _Type(msgspec.Struct):
    type: str = ""


_type_of = msgspec.json.Decoder(_Type)


class LiveCalls:
    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._places = Places(_MOST_STREAMS, "live streams")

    def stream(self, request: Request, identity: Identity, tenant: str) -> Response:
        check_own(identity, check_tenant(tenant))
        refuse_unknown(request.args, frozenset({"type"}))
        type = read_word(request.args, "type")
        registry, last = self._backend.registry, _last_seen(request)
        is_known = self._watch_keys(identity)
        if last is None:
            last = (registry.run(lambda client: _last_sequence(client), 10.0), -1)
        give_back = self._places.take(tenant)
        events = _events(registry, tenant, type, *last, is_known)
        response = Response(events, content_type="text/event-stream", headers={"Cache-Control": "no-store"})
        response.call_on_close(give_back)
        return response

    def _watch_keys(self, identity: Identity) -> Callable[[], bool]:
        """Whether each key that its holder has now still works; true for who has none and came with a token."""
        registry = self._backend.registry

        def works(key: Key) -> bool:
            return is_held_by(key, identity, self._clock().timestamp())

        hashes = [key.hash for key in self._backend.keys(identity.tenant) if works(key)]
        return lambda: all(
            (record := registry.get(KEYS, name)) is not None and works(Key.from_json(record)) for name in hashes
        )


def _last_seen(request: Request) -> tuple[int, int] | None:
    """Sequence of the message and index of the event in it."""
    text = request.headers.get("Last-Event-ID")
    if text is None:
        return None
    sequence, _, index = text.partition(".")
    if text.isascii() and sequence.isdigit() and index.isdigit() and len(text) < 40:
        seen = int(sequence), int(index)
        if max(seen) <= LAST_PLACE:
            return seen
    raise InvalidInput("Last-Event-ID is not one of this stream.", (FieldError("Last-Event-ID", "not from here"),))


async def _last_sequence(client: Client) -> int:
    try:
        return int((await JetStreamApi(client).request(f"STREAM.INFO.{RESULTS_STREAM}"))["state"]["last_seq"]) + 1
    except JetStreamError as error:
        raise Unavailable(f"The results cannot be read: {error.description}.") from error


def _events(
    registry: Mirror, tenant: str, type: str | None, sequence: int, index: int, is_known: Callable[[], bool]
) -> Iterator[bytes]:
    """Begins at once, so that the client knows that it is connected; ends when results cannot be read, and when the
    caller is not known any more."""
    yield b"retry: 1000\n: connected\n\n"
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until and is_known():
        try:
            messages = registry.run(lambda client: _wait(client, tenant, sequence), _QUIET_SECONDS + 10.0)  # noqa: B023
        except EventRunnerError:
            return
        for message in messages:
            if not is_known():
                return
            start = index + 1 if message.sequence == sequence else 0
            yield from _written(message, type, start)
            sequence, index = message.sequence + 1, -1
        if not messages:
            yield b": nothing new\n\n"


async def _wait(client: Client, tenant: str, sequence: int) -> list[StoredMessage]:
    """The next messages from a sequence on; none if none comes for some seconds."""
    name, woken = subject(RESULTS_STREAM, tenant), asyncio.Event()

    async def wake(_: Msg) -> None:
        woken.set()

    try:
        # Before reading, so that nothing comes unseen in between.
        subscription = await client.subscribe(name, cb=wake)
        try:
            deadline = asyncio.get_running_loop().time() + _QUIET_SECONDS
            while True:
                woken.clear()
                found = await read_stream(
                    client, RESULTS_STREAM, name, sequence=sequence, most=_READ_MESSAGES, max_bytes=_READ_BYTES
                )
                left = deadline - asyncio.get_running_loop().time()
                if found or left <= 0:
                    return found
                try:
                    async with asyncio.timeout(left):
                        await woken.wait()
                except TimeoutError:
                    return []
        finally:
            await subscription.unsubscribe()
    except (NatsError, OSError) as error:
        raise Unavailable(f"The results cannot be read: {error}.") from error


def _written(message: StoredMessage, type: str | None, start: int) -> Iterator[bytes]:
    if ONLY_HEADER in message.headers:
        # A replay for one consumer is no news.
        return
    packed = message.headers.get("Content-Encoding") == ENCODING
    body = charged_batch(message.body, _UNPACK_LIMIT) if packed else message.body
    events = split_batch(body) if body.lstrip()[:1] == b"[" else [msgspec.Raw(body)]
    for index, raw in enumerate(events[start:], start):
        if type is None or _type_of.decode(raw).type == type:
            # Data may come with line breaks between its members.
            lines = b"".join(b"data: %b\n" % line for line in bytes(raw).splitlines())
            yield b"id: %d.%d\n%b\n" % (message.sequence, index, lines)
