"""What a guest logged while it was handed an event, and why that failed, into the consumer's log."""

from __future__ import annotations

from collections.abc import Iterator

from eventrunner.handlers.consumer_run import Item
from eventrunner.storage.consumer_logs import ConsumerLog
from eventrunner.wasm.outcomes import Call

__all__ = ["Attempts"]

_OWN = "eventrunner"
"""Context of the lines that are not the guest's."""


class Attempts:
    def __init__(self, log: ConsumerLog) -> None:
        self._log = log

    def __call__(self, item: Item, call: Call, problem: str) -> None:
        if call.logs or call.logs_dropped or problem:
            self._log.write(_lines(item, call, problem), item.event.id, item.attempts)


def _lines(item: Item, call: Call, problem: str) -> Iterator[tuple[str, str, str]]:
    for line in call.logs:
        yield line.level, line.context, line.text
    if call.logs_dropped:
        yield "warn", _OWN, f"{call.logs_dropped} lines were dropped: over the limit log_bytes"
    if problem:
        yield "error", _OWN, f"given up: {problem}" if item.failure else f"to be tried again: {problem}"
