from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from eventrunner.events import Event
from eventrunner.handlers.consumer_attempts import Attempts
from eventrunner.handlers.consumer_run import Item
from eventrunner.storage.consumer_logs import ConsumerLog
from eventrunner.wasm.outcomes import Call, Handled, LogLine, Message, Refused, Spent


@dataclass
class Desk:
    """Where lines go, with a clock that somebody moves on."""

    now: float = 0.0
    sent: list[bytes] = field(default_factory=list)
    later: list[Callable[[], None]] = field(default_factory=list)

    def log(self) -> ConsumerLog:
        return ConsumerLog(
            self.sent.append,
            lambda: datetime(2026, 11, 1, tzinfo=UTC),
            lambda: self.now,
            lambda _, work: self.later.append(work),
        )

    @property
    def texts(self) -> list[str]:
        return [json.loads(line)["text"] for line in self.sent]


def lines(count: int) -> list[tuple[str, str, str]]:
    return [("info", "guest", str(number)) for number in range(count)]


def test_a_flood_is_dropped_and_counted_in_one_line() -> None:
    desk = Desk()
    log = desk.log()
    for _ in range(3):
        log.write(lines(1000), "e", 1)
    assert desk.texts == [str(number) for number in range(1000)]
    (report,) = desk.later
    report()
    assert desk.texts[1000:] == ["2000 lines were dropped: more than 200 a second"]
    desk.now = 1.0
    log.write(lines(300), "e", 1)
    assert len(desk.sent) == 1201
    desk.later[1]()
    assert desk.texts[-1] == "100 lines were dropped: more than 200 a second"


def test_a_line_says_when_which_event_and_which_attempt() -> None:
    desk = Desk()
    desk.log().write([("warn", "guest", "größer")], "e1", 2)
    assert json.loads(desk.sent[0]) == {
        "time": "2026-11-01T00:00:00.000000Z",
        "level": "warn",
        "context": "guest",
        "text": "größer",
        "event": "e1",
        "attempt": 2,
    }


def test_a_line_is_cut_to_what_the_stream_takes_whatever_its_characters_take() -> None:
    desk = Desk()
    desk.log().write([("info", "\x01" * 65536, "\x01" * 65536), ("info", "", "🦀" * 65536)], "e" * 65536, 1)
    assert max(map(len, desk.sent)) <= 8_000
    assert all(text.endswith("(cut)") for text in desk.texts)


def test_failed_attempts_are_in_the_log_and_good_ones_that_log_nothing_are_not() -> None:
    desk = Desk()
    attempts = Attempts(desk.log())
    item = Item(Event(id="1", source="/s", type="t"), Message("s", b""), attempts=1)
    attempts(item, Call(Handled(), Spent(1, 1, 1), (), (), 0), "")
    attempts(item, Call(Refused("no"), Spent(1, 1, 1), (), (LogLine("info", "g", "why"),), 3), "no")
    item.failure = (422, "no")
    attempts(item, Call(Refused("no"), Spent(1, 1, 1), (), (), 0), "no")
    assert desk.texts == [
        "why",
        "3 lines were dropped: over the limit log_bytes",
        "to be tried again: no",
        "given up: no",
    ]
