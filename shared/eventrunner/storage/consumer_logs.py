"""What consumers log, as JSON lines on the stream LOGS: `logs.<tenant>.<consumer>`, a message for each line.

Lines are sent without waiting for anything, so that logging holds no call up; what cannot be stored just then is lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from nats.aio.client import Client

from eventrunner.clock import Clock, format_time, parse_nanoseconds, utc_now
from eventrunner.storage.stream_reader import StoredMessage, read_stream
from eventrunner.tenancy import LOGS_STREAM

__all__ = ["MOST_LINES", "MOST_LINE_BYTES", "ConsumerLog", "LogEntry", "last_lines", "log_subject"]

MOST_LINES: Final = 1000
"""That the stream keeps of a consumer."""
_RATE: Final = 200
"""Lines a second, of each process."""
_BURST: Final = 1000
MOST_LINE_BYTES: Final = 8_000
"""Of a line; the stream takes little more."""
_CUT: Final = " … (cut)"
_REPORT_SECONDS: Final = 1.0
_READ_BYTES: Final = 1024 * 1024


class LogEntry(msgspec.Struct, frozen=True):
    time: str
    level: str
    context: str
    """What the guest names it; `eventrunner` for what is said about the guest."""
    text: str
    event: str = ""
    """Id of the event that it was handed."""
    attempt: int = 0


def log_subject(tenant: str, consumer: str) -> str:
    return f"logs.{tenant}.{consumer}"


class ConsumerLog:
    """Of one consumer. Safe to share between threads; every method returns at once."""

    def __init__(
        self,
        send: Callable[[bytes], None],
        clock: Clock = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], Any] | None = None,
    ) -> None:
        """`later(seconds, work)` does the work then."""
        self._send = send
        self._clock = clock
        self._monotonic = monotonic
        self._later = later or _in_a_thread
        self._allowance = float(_BURST)
        self._counted_at = monotonic()
        self._dropped = 0
        self._lock = threading.Lock()

    def write(self, lines: Iterable[tuple[str, str, str]], event: str, attempt: int) -> None:
        """Level, context and text of each. What is over the rate is dropped, and counted in a line of its own."""
        now = format_time(self._clock())
        for level, context, text in lines:
            if self._admits():
                self._send(_encoded(LogEntry(now, level, context, text, event, attempt)))

    def _admits(self) -> bool:
        with self._lock:
            now = self._monotonic()
            self._allowance = min(_BURST, self._allowance + (now - self._counted_at) * _RATE)
            self._counted_at = now
            if self._allowance >= 1:
                self._allowance -= 1
                return True
            self._dropped += 1
            is_first = self._dropped == 1
        if is_first:
            self._later(_REPORT_SECONDS, self._report)
        return False

    def _report(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        text = f"{dropped} lines were dropped: more than {_RATE} a second"
        self._send(_encoded(LogEntry(format_time(self._clock()), "warn", "eventrunner", text)))


def _in_a_thread(seconds: float, work: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, work)
    timer.daemon = True
    timer.start()


def _encoded(entry: LogEntry) -> bytes:
    """Cut to what the stream takes, whatever its characters take in JSON."""
    length = MOST_LINE_BYTES
    while len(body := msgspec.json.encode(entry)) > MOST_LINE_BYTES:
        length //= 2
        entry = msgspec.structs.replace(
            entry, text=entry.text[:length] + _CUT, context=entry.context[:200], event=entry.event[:500]
        )
    return body


async def last_lines(client: Client, tenant: str, consumer: str, since: int | None, most: int) -> list[StoredMessage]:
    """The last so many since a time in microseconds, the oldest of them first. Raises Unavailable."""
    subject, floor, sequence = log_subject(tenant, consumer), (since or 0) * 1000, 1
    found: list[StoredMessage] = []
    while page := await read_stream(
        client, LOGS_STREAM, subject, sequence=sequence, most=MOST_LINES, max_bytes=_READ_BYTES
    ):
        found += [message for message in page if parse_nanoseconds(message.stored) >= floor]
        sequence = page[-1].sequence + 1
    return found[-most:]
