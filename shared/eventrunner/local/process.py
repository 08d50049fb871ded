"""Child processes: started in a group of their own, logged to a file, stopped politely and then for sure."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from eventrunner.local.lifeline import die_with

__all__ = ["Child", "Command", "spawn"]

_log = logging.getLogger(__name__)
_LOG_LIMIT_BYTES: Final = 16 * 1024 * 1024
_TAIL_BYTES: Final = 2000
_TAIL_LINES: Final = 5
_NICE: Final = 5
"""A third of what others get. Less would make calls that have a time limit fail when the machine is busy."""
_NEEDED: Final = frozenset(
    {"HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "SSL_CERT_FILE", "TZ", "VIRTUAL_ENV"}
)


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    """What the process is called in logs."""
    argv: tuple[str, ...]
    log: Path
    """Standard output and error are appended here; moved to `<log>.1` when it has grown over 16 MiB."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of the platform, of which no EVENTRUNNER_ variable is passed on."""
    cwd: Path | None = None
    inherits: bool = True
    """Whether it sees the environment of the platform, and not only of it what programs need to run."""


class Child:
    """A running or ended process. Whatever it forked is in its process group and goes with it."""

    def __init__(self, command: Command, process: asyncio.subprocess.Process) -> None:
        self.command = command
        self.pid = process.pid
        self._process = process
        self._swept = False

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def wait(self) -> int:
        code = await self._process.wait()
        self._sweep()
        return code

    async def stop(self, grace: float) -> None:
        """SIGTERM, `grace` seconds to leave, then SIGKILL for the whole group."""
        if self.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), grace)
            except TimeoutError:
                _log.warning("%s did not stop within %g s and is killed", self.command.name, grace)
        self._sweep()
        await self._process.wait()

    def give_way(self) -> None:
        """From now on it and what it has forked get less of the cores than others that want them."""
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PGRP, self.pid, _NICE)
        if sys.platform == "linux":
            # Its session is a group of its own for the scheduler, in which niceness says nothing to other sessions:
            # so the group gets it too (sched(7), the autogroup feature).
            with contextlib.suppress(OSError):
                Path(f"/proc/{self.pid}/autogroup").write_text(str(_NICE))

    def last_words(self) -> str:
        """The last lines of its log."""
        try:
            with self.command.log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
                return " | ".join(lines[-_TAIL_LINES:]).strip()
        except OSError:
            return ""

    def _sweep(self) -> None:
        # Once only: afterwards the system may give the number of the group to somebody else.
        if not self._swept:
            self._swept = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


async def spawn(command: Command) -> Child:
    """Starts the process in its own session. Must run on the main thread: the child dies with the thread that forks."""
    with _open_log(command.log) as log:
        process = await asyncio.create_subprocess_exec(
            *command.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(command),
            cwd=command.cwd,
            start_new_session=True,
            preexec_fn=functools.partial(die_with, os.getpid()),
        )
    return Child(command, process)


def _open_log(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def _environment(command: Command) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("EVENTRUNNER_") and (command.inherits or name in _NEEDED or name.startswith("LC_"))
    }
    return {**inherited, **command.env}
