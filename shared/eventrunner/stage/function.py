"""From `handle(batch) -> outcomes` to a functions-framework function."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from flask import Request, Response

from eventrunner.access.senders import Check, sender_check
from eventrunner.events.costs import Cost
from eventrunner.memory import keep_memory
from eventrunner.nesting import read_deep_events
from eventrunner.settings import Settings
from eventrunner.stage.answers import guarded
from eventrunner.stage.batch import UNPACK_LIMIT, Batch, takes_packed
from eventrunner.stage.body import limit_body
from eventrunner.stage.outcomes import Outcomes
from eventrunner.stage.reply import write_reply
from eventrunner.telemetry import EVENTS_TOTAL, configure_logging

__all__ = ["Handler", "Stage"]

_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


class Handler(Protocol):
    """The work of a stage. Called from several threads at once."""

    def __call__(self, batch: Batch) -> Outcomes:
        """Raises EventRunnerError for the batch as a whole; what concerns one event belongs into the outcomes."""


class Stage:
    """A stage as functions-framework calls it: `main = Stage("analytics", make_handler).main`."""

    def __init__(self, name: str, make_handler: Callable[[Settings], Handler]) -> None:
        self.name = name
        self._make_handler = make_handler
        self._handler: Handler | None = None
        self._check: Check | None = None
        self._is_set_up = False
        self._lock = threading.Lock()

    def main(self, request: Request) -> Response:
        """Answers one request: 200 with a JSON batch, 204, or a problem document."""
        return guarded(self.name, request, self._answer)

    def _answer(self, request: Request) -> Response:
        if request.method != "POST":
            return Response(status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
        # Packed or not: no more than what it may unpack to.
        limit_body(request, UNPACK_LIMIT)
        self._set_up()
        if self._check is not None:
            self._check(request.headers.get("Authorization"))
        started, cpu = time.monotonic_ns(), time.thread_time_ns()
        headers = dict(request.headers)
        batch = Batch.from_request(headers, request.get_data(cache=False))
        batch.authorization = headers.get("Authorization", "")
        outcomes = self._ready_handler()(batch)
        count = max(batch.count, 1)
        cost = Cost(
            cpu=(time.thread_time_ns() - cpu) // count,
            memory=_resident_kib() * (time.monotonic_ns() - started) // 1_000_000 // count,
        )
        self._count(outcomes)
        return write_reply(outcomes, self.name, cost, packs=takes_packed(headers))

    # What follows is made on the first request and not at import: functions-framework's server forks after the import,
    # and no thread, connection or event loop lives through a fork.

    def _set_up(self) -> None:
        if not self._is_set_up:
            with self._lock:
                if not self._is_set_up:
                    settings = Settings.from_env()
                    configure_logging(self.name, settings.log_level)
                    self._check = sender_check(settings)
                    self._is_set_up = True

    def _ready_handler(self) -> Handler:
        if self._handler is None:
            with self._lock:
                if self._handler is None:
                    self._handler = self._make_handler(Settings.from_env())
                    keep_memory()
                    read_deep_events()
        return self._handler

    def _count(self, outcomes: Outcomes) -> None:
        for outcome, number in outcomes.counts().items():
            if number:
                EVENTS_TOTAL.labels(self.name, outcome).inc(number)


def _resident_kib() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE_KIB
