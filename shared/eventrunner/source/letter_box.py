"""Dead letters read, replayed and dropped in the stream DEADLETTER.

A replay publishes the event to the stream that feeds the stage and removes the letter only after the PubAck. Whoever
replays a letter twice, or crashes between the two, publishes the same `Nats-Msg-Id`, and after the stream's duplicate
window the same event, which counts once by its identity.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError

from eventrunner.clock import format_time, from_micros
from eventrunner.errors import EventRunnerError, NotFound, Unavailable
from eventrunner.source.letters import Letter, LetterFilter
from eventrunner.storage.cursors import Place, decode_cursor, encode_cursor
from eventrunner.storage.jetstream import JetStreamApi, JetStreamError
from eventrunner.storage.stream_reader import read_stream
from eventrunner.tenancy import DEADLETTER_STREAM, deadletter_subject

__all__ = ["LetterBox", "LetterPage", "Swept"]

_READ_LETTERS = 256
_READ_BYTES = 2 * 1024 * 1024
_PAGE_BYTES = 4 * 1024 * 1024
_PAGE_SECONDS = 2.0
_SWEEP_SECONDS = 5.0
"""How long one call works on; what is left is for the next one."""
_MOST_SKIPPED = 100
_PUBLISH_TIMEOUT = 5.0
_GONE = (10043, 10057, 10037)
"""err_codes of the deletion of a message that is not there."""


@dataclass(frozen=True, slots=True)
class LetterPage:
    letters: Sequence[Letter]
    next_cursor: str | None
    """None when there are no more; a page may be short or empty and have a next one."""


@dataclass(slots=True)
class Swept:
    done: int = 0
    skipped: list[Letter] = field(default_factory=list)
    """Letters that cannot be replayed; they stay. The first hundred of a call."""
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    letters: Sequence[Letter]
    position: tuple[int, int] | None
    """Where to go on, and the last sequence that belongs to this walk; None at its end."""

    @property
    def cursor(self) -> str | None:
        return None if self.position is None else encode_cursor(self.position)


class LetterBox:
    """Every method may raise Unavailable."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._api = JetStreamApi(client)

    async def counts(self, tenant: str) -> dict[str, int]:
        """Letters by stage."""
        state = await self._state(deadletter_subject("*", tenant))
        subjects: dict[str, int] = state.get("subjects") or {}
        return {subject.split(".")[1]: count for subject, count in sorted(subjects.items())}

    async def get(self, tenant: str, letter_id: str) -> Letter:
        """Raises NotFound."""
        if letter_id.isascii() and letter_id.isdigit() and 0 < len(letter_id) < 19 and int(letter_id):
            subject, sequence = deadletter_subject("*", tenant), int(letter_id)
            found = await read_stream(
                self._client, DEADLETTER_STREAM, subject, sequence=sequence, most=1, max_bytes=_READ_BYTES
            )
            if found and found[0].sequence == sequence:
                return Letter(found[0])
        raise NotFound(f"Tenant {tenant} has no dead letter {letter_id}: it was replayed or dropped, or never was.")

    async def page(self, wanted: LetterFilter, limit: int, cursor: str | None) -> LetterPage:
        """The oldest first. Raises InvalidInput for a cursor that no page gave."""
        letters: list[Letter] = []
        size, until = 0, asyncio.get_running_loop().time() + _PAGE_SECONDS
        read = _Read((), await self._start(wanted, cursor))
        while read.position is not None and len(letters) < limit and size < _PAGE_BYTES:
            if asyncio.get_running_loop().time() > until:
                break
            read = await self._read(wanted, read.position, limit - len(letters), from_time=cursor is None and not size)
            letters += read.letters
            size += sum(letter.size for letter in read.letters)
        return LetterPage(letters, read.cursor)

    async def replay(self, letters: Sequence[Letter]) -> None:
        """Raises Conflict for one that cannot be replayed, and then does nothing."""
        publications = [letter.replay() for letter in letters]
        outcomes = await asyncio.gather(
            *(self._publish(item.subject, item.body, item.headers) for item in publications), return_exceptions=True
        )
        stored = [letter for letter, outcome in zip(letters, outcomes, strict=True) if outcome is None]
        await self.drop(stored)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def drop(self, letters: Sequence[Letter]) -> None:
        """Letters that are gone already are no error."""
        outcomes = await asyncio.gather(*(self._delete(letter) for letter in letters), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def replay_all(self, wanted: LetterFilter, cursor: str | None) -> Swept:
        """Replays for some seconds what there was when the first call began, so that what fails again waits."""
        return await self._sweep(wanted, cursor, replay=True)

    async def drop_all(self, wanted: LetterFilter, cursor: str | None) -> Swept:
        """Drops for some seconds."""
        return await self._sweep(wanted, cursor, replay=False)

    async def _sweep(self, wanted: LetterFilter, cursor: str | None, *, replay: bool) -> Swept:
        swept = Swept()
        until = asyncio.get_running_loop().time() + _SWEEP_SECONDS
        read = _Read((), await self._start(wanted, cursor))
        first = cursor is None
        while read.position is not None and asyncio.get_running_loop().time() < until:
            read = await self._read(wanted, read.position, _READ_LETTERS, from_time=first)
            first = False
            chosen = [letter for letter in read.letters if not (replay and letter.problem)]
            await (self.replay(chosen) if replay else self.drop(chosen))
            swept.done += len(chosen)
            swept.skipped += [letter for letter in read.letters if replay and letter.problem]
        swept.skipped = swept.skipped[:_MOST_SKIPPED]
        swept.next_cursor = read.cursor
        return swept

    async def _start(self, wanted: LetterFilter, cursor: str | None) -> tuple[int, int] | None:
        if cursor is not None:
            return decode_cursor(cursor, tuple[Place, Place])
        state = await self._state(wanted.subject)
        return (1, int(state["last_seq"])) if state.get("subjects") else None

    async def _read(self, wanted: LetterFilter, position: tuple[int, int], most: int, *, from_time: bool) -> _Read:
        """The letters among the next messages, at most `most` of them."""
        sequence, last = position
        found = await read_stream(
            self._client,
            DEADLETTER_STREAM,
            wanted.subject,
            sequence=sequence,
            since=format_time(from_micros(wanted.since)) if from_time and wanted.since is not None else None,
            most=_READ_LETTERS,
            max_bytes=_READ_BYTES,
        )
        matching: list[Letter] = []
        for letter in map(Letter, found):
            if letter.sequence > last or wanted.is_over(letter):
                return _Read(matching, None)
            if wanted.matches(letter):
                if len(matching) == most:
                    return _Read(matching, (letter.sequence, last))
                matching.append(letter)
        return _Read(matching, (found[-1].sequence + 1, last) if found and found[-1].sequence < last else None)

    async def _state(self, subject: str) -> dict[str, Any]:
        try:
            answer = await self._api.request(f"STREAM.INFO.{DEADLETTER_STREAM}", {"subjects_filter": subject})
        except JetStreamError as error:
            raise Unavailable(f"The dead letters cannot be read: {error.description}.") from error
        state: dict[str, Any] = answer["state"]
        return state

    async def _publish(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        try:
            await self._client.jetstream().publish(subject, body, timeout=_PUBLISH_TIMEOUT, headers=headers)
        except (NatsError, OSError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"{subject} does not take the event: {reason}. Its dead letter stays.") from error

    async def _delete(self, letter: Letter) -> None:
        try:
            await self._api.request(
                f"STREAM.MSG.DELETE.{DEADLETTER_STREAM}", {"seq": letter.sequence, "no_erase": True}
            )
        except JetStreamError as error:
            if error.err_code not in _GONE:
                raise EventRunnerError(f"Dead letter {letter.id} cannot be removed: {error.description}.") from error
