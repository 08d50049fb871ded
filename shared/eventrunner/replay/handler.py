"""The replayer: each event asks to go on with a replay; the reply asks again as long as there is more to do."""

from __future__ import annotations

import logging

from eventrunner.errors import NotFound
from eventrunner.replay.record import REPLAY_TYPE, task_event
from eventrunner.replay.worker import ReplayWorker
from eventrunner.stage import Batch, Outcomes

__all__ = ["Replayer"]

_log = logging.getLogger(__name__)


class Replayer:
    def __init__(self, worker: ReplayWorker) -> None:
        self._worker = worker

    def __call__(self, batch: Batch) -> Outcomes:
        outcomes = Outcomes()
        for event in batch.events:
            if event.type != REPLAY_TYPE:
                outcomes.fail(event, 422, f"an event of type {event.type} asks for no replay")
                continue
            try:
                if self._worker.work(event.tenantid, event.id):
                    outcomes.results.append(task_event(event.tenantid, event.id))
            except NotFound as error:
                # Its record has run out or was removed: nobody waits for it.
                _log.warning("%s", error)
        return outcomes
