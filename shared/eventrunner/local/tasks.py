"""Tasks that nobody awaits, and whose failure is seen all the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

__all__ = ["start_task"]

_log = logging.getLogger(__name__)


def start_task(work: Coroutine[object, object, None]) -> asyncio.Task[None]:
    """The caller keeps the task; the event loop itself holds it by a weak reference only."""
    task = asyncio.create_task(work)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a task of the platform failed", exc_info=error)
