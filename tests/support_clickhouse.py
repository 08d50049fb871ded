"""The embedded ClickHouse for tests: one process, a database for each test that wants one."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from eventrunner.storage.analytics import Analytics

__all__ = ["ChdbProcess", "chdb_process"]

_STOP_SECONDS = 15


class ChdbProcess:
    """`stop` and `start` keep the folder; the port may change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._names = (f"test{number}" for number in itertools.count(1))

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, port: int = 0) -> None:
        command = [sys.executable, "-m", "eventrunner.storage.chdb_server"]
        command += ["--data", str(self.folder), "--port", str(port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.url = json.loads(self._process.stdout.readline())["url"]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        self._process.send_signal(how)
        code = self._process.wait(_STOP_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
        return code

    def new_url(self) -> str:
        """Of a database that nobody uses."""
        return f"{self.url}/{next(self._names)}"

    @contextlib.contextmanager
    def analytics(self) -> Iterator[Analytics]:
        """With a database of its own."""
        analytics = Analytics(self.new_url())
        analytics.migrate()
        try:
            yield analytics
        finally:
            analytics.close()


@contextlib.contextmanager
def chdb_process(folder: Path) -> Iterator[ChdbProcess]:
    process = ChdbProcess(folder)
    process.start()
    try:
        yield process
    finally:
        if process._process is not None:
            process.stop()
