"""Runs `eventrunner dev` as a process of its own, for the demo, the benchmark and tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from eventrunner.errors import Unavailable
from eventrunner.local.data_dir import DataDir
from eventrunner.settings import Settings

__all__ = ["RunningPlatform", "make_folder", "running_platform"]

_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class RunningPlatform:
    """What the ready line says, and where the platform keeps its state."""

    url: str
    admin_key: str
    grpc: str
    nats: str
    clickhouse: str
    broker: str
    store: str
    """URL of the event store, which the ready line does not say: it may hold a password."""
    data_dir: Path
    pid: int


def make_folder(purpose: str) -> Path:
    """A new folder for the state of a platform that is thrown away afterwards, in the current folder.

    Not below the system's folder for temporary files: that is often memory, where fsync costs nothing.
    """
    return Path(tempfile.mkdtemp(prefix=f".eventrunner-{purpose}-", dir=Path.cwd()))


@contextmanager
def running_platform(
    data_dir: Path, environ: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
) -> Iterator[RunningPlatform]:
    """Starts the platform on free ports and stops it at the end; `arguments` are more of `eventrunner dev`.

    Raises Unavailable when it does not get ready.
    """
    command = [sys.executable, "-m", "eventrunner", "dev", "--port", "0", "--data-dir", str(data_dir), *arguments]
    data_dir.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, **(environ or {})}
    store = Settings.from_env(env).store_url if "EVENTRUNNER_STORE_URL" in env else DataDir(data_dir).store_url
    with (data_dir / "dev.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=env, start_new_session=True)
    try:
        yield _read_ready(process, data_dir, store)
    finally:
        _stop(process)


def _read_ready(process: subprocess.Popen[bytes], data_dir: Path, store: str) -> RunningPlatform:
    assert process.stdout is not None
    line = _first_line(process.stdout)
    if not line:
        tail = (data_dir / "dev.log").read_text(errors="replace")[-2000:]
        raise Unavailable(f"The platform did not get ready. The end of {data_dir / 'dev.log'}:\n{tail}")
    ready = json.loads(line)
    return RunningPlatform(
        url=ready["url"],
        admin_key=ready["admin_key"],
        grpc=ready["grpc"],
        nats=ready["nats"],
        clickhouse=ready["clickhouse"],
        broker=ready["broker"],
        store=store,
        data_dir=data_dir,
        pid=process.pid,
    )


def _first_line(stream: IO[bytes]) -> bytes:
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.append(stream.readline()), daemon=True)
    reader.start()
    reader.join(_START_TIMEOUT)
    return lines[0] if lines else b""


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
