"""Messages of a stream as they come, as server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html. Whoever comes again with `Last-Event-ID` goes on where
it was, for as long as the stream keeps the messages. It ends within seconds after a key of its caller is gone:
functions are told who calls and not by which key, so that whoever has another key, or a token, comes again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

from flask import Request, Response
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from eventrunner.access.identity import Identity
from eventrunner.access.keys import is_held_by
from eventrunner.api.backend import Backend
from eventrunner.clock import Clock
from eventrunner.errors import EventRunnerError, FieldError, InvalidInput, Unavailable
from eventrunner.storage.cursors import LAST_PLACE
from eventrunner.storage.jetstream import JetStreamApi, JetStreamError
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.records import KEYS, Key
from eventrunner.storage.stream_reader import StoredMessage, read_stream

__all__ = ["Followed", "Place", "Written", "follow", "last_seen", "next_place", "sent", "watch_keys"]

_SECONDS = 240.0
"""Then the client comes again, before the platform's own limit of a request cuts it off."""
_QUIET_SECONDS = 3.0
"""Then something is written, so that a client that is gone soon gives its place free: the gateway between notices with
the first write, the server here with the second or third."""
_READ_MESSAGES = 64
_READ_BYTES = 4 * 1024 * 1024

Written: TypeAlias = Callable[[StoredMessage, int], Iterable[bytes]]
"""The server-sent events of a message, from one of its parts on."""


class Place(NamedTuple):
    sequence: int
    """Of the message."""
    part: int = -1
    """Of the message, that was sent last."""


class Followed(NamedTuple):
    stream: str
    subject: str


def watch_keys(backend: Backend, identity: Identity, clock: Clock) -> Callable[[], bool]:
    """Whether each key that its holder has now still works; true for who has none and came with a token."""
    registry = backend.registry

    def works(key: Key) -> bool:
        return is_held_by(key, identity, clock().timestamp())

    hashes = [key.hash for key in backend.keys(identity.tenant) if works(key)]
    return lambda: all(
        (record := registry.get(KEYS, name)) is not None and works(Key.from_json(record)) for name in hashes
    )


def last_seen(request: Request) -> Place | None:
    """What `Last-Event-ID` says. Raises InvalidInput."""
    text = request.headers.get("Last-Event-ID")
    if text is None:
        return None
    sequence, _, index = text.partition(".")
    if text.isascii() and sequence.isdigit() and index.isdigit() and len(text) < 40:
        seen = Place(int(sequence), int(index))
        if max(seen) <= LAST_PLACE:
            return seen
    raise InvalidInput("Last-Event-ID is not one of this stream.", (FieldError("Last-Event-ID", "not from here"),))


def next_place(registry: Mirror, stream: str) -> Place:
    """Of what comes next. Raises Unavailable."""

    async def ask(client: Client) -> int:
        try:
            return int((await JetStreamApi(client).request(f"STREAM.INFO.{stream}"))["state"]["last_seq"])
        except JetStreamError as error:
            raise Unavailable(f"{stream} cannot be read: {error.description}.") from error

    return Place(registry.run(ask, 10.0) + 1)


def sent(place: Place, data: bytes) -> bytes:
    """A server-sent event. JSON may come with line breaks between its members."""
    lines = b"".join(b"data: %b\n" % line for line in data.splitlines())
    return b"id: %d.%d\n%b\n" % (*place, lines)


def follow(
    registry: Mirror,
    followed: Followed,
    place: Place,
    is_known: Callable[[], bool],
    written: Written,
    give_back: Callable[[], None],
) -> Response:
    events = _events(registry, followed, place, is_known, written)
    response = Response(events, content_type="text/event-stream", headers={"Cache-Control": "no-store"})
    response.call_on_close(give_back)
    return response


def _events(
    registry: Mirror, followed: Followed, place: Place, is_known: Callable[[], bool], written: Written
) -> Iterator[bytes]:
    """Begins at once, so that the client knows that it is connected; ends when the stream cannot be read, and when the
    caller is not known any more."""
    yield b"retry: 1000\n: connected\n\n"
    sequence, index = place
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until and is_known():
        try:
            messages = registry.run(lambda client: _wait(client, followed, sequence), _QUIET_SECONDS + 10.0)  # noqa: B023
        except EventRunnerError:
            return
        for message in messages:
            if not is_known():
                return
            yield from written(message, index + 1 if message.sequence == sequence else 0)
            sequence, index = message.sequence + 1, -1
        if not messages:
            yield b": nothing new\n\n"


async def _wait(client: Client, followed: Followed, sequence: int) -> list[StoredMessage]:
    """The next messages from a sequence on; none if none comes for some seconds."""
    woken = asyncio.Event()

    async def wake(_: Msg) -> None:
        woken.set()

    try:
        # Before reading, so that nothing comes unseen in between.
        subscription = await client.subscribe(followed.subject, cb=wake)
        try:
            deadline = asyncio.get_running_loop().time() + _QUIET_SECONDS
            while True:
                woken.clear()
                found = await read_stream(
                    client, *followed, sequence=sequence, most=_READ_MESSAGES, max_bytes=_READ_BYTES
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
        raise Unavailable(f"{followed.stream} cannot be read: {error}.") from error
