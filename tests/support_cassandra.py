"""A real Cassandra node for tests, which may be killed and started again over its files."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support import free_port, require, unavailable

__all__ = ["CassandraNode", "cassandra_node"]

_TOOL = Path(__file__).parents[1] / "tools" / "cassandra-up"


class CassandraNode:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Returns when the node answers."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        command = [sys.executable, str(_TOOL), str(self._folder), "--port", str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def wait(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        if not self._process.stdout.readline().strip():
            self.kill()
            unavailable("needs a Cassandra that starts")

    def kill(self) -> None:
        """With SIGKILL. Does nothing when it does not run."""
        if self._process is not None:
            with self._process:
                self._process.kill()
            self._process = None


@contextlib.contextmanager
def cassandra_node(folder: Path) -> Iterator[CassandraNode]:
    require("java", "mvn")
    node = CassandraNode(folder)
    node.start()
    try:
        yield node
    finally:
        node.kill()
