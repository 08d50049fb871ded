"""How `make test` spreads the tests over two processes.

A file's tests run in one process. Those of `tests/pipeline` all run in the same one, as each has a platform that takes
most of the machine. A test marked `alone` holds a limit of a second or less against the clock: nothing runs beside it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from pathlib import Path
from typing import IO, Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.scheduler.protocol import Scheduling

_PIPELINE: Final = "tests/pipeline/"
_LOCKS: Final = Path(__file__).parents[1] / ".cache" / "tests"


class _Scheduling(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return _PIPELINE if nodeid.startswith(_PIPELINE) else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return _Scheduling(config, log)


class _Turns:
    """Between the processes of a run: many have a test in turn, or one has one alone."""

    def __init__(self) -> None:
        _LOCKS.mkdir(parents=True, exist_ok=True)
        # Who waits to be alone holds the door, or the others' tests would follow each other for ever.
        self._door, self._room = (self._open(name) for name in ("door", "room"))

    def _open(self, name: str) -> IO[bytes]:
        return (_LOCKS / f"{name}.lock").open("wb")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Before the test's time begins to count."""
        fcntl.flock(self._door, fcntl.LOCK_EX)
        fcntl.flock(self._room, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(self._door, fcntl.LOCK_UN)
        try:
            return (yield)
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(_Turns())
