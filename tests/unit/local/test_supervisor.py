from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from eventrunner.errors import Unavailable
from eventrunner.local.process import Command
from eventrunner.local.supervisor import Backoff, Supervised

from tests.unit.local.support import is_alive, run, until

SLEEPER = (sys.executable, "-c", "import time; time.sleep(60)")


async def always() -> bool:
    return True


async def never() -> bool:
    return False


def test_waits_double_up_to_their_limit() -> None:
    backoff = Backoff(first=0.1, limit=1.0)
    assert [backoff.after(0) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_long_life_makes_the_next_wait_short() -> None:
    backoff = Backoff(first=0.1, limit=1.0, settled=30)
    for _ in range(5):
        backoff.after(0)
    assert backoff.after(31) == 0.1


def test_what_is_killed_is_started_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        part = Supervised(Command("sleeper", SLEEPER, tmp_path / "log"), always)
        await part.start()
        first = part.pid
        assert first
        os.kill(first, signal.SIGKILL)
        await until(lambda: part.restarts == 1 and part.pid != first)
        await part.stop(5)
        assert not is_alive(first)

    run(scenario())


def test_a_part_that_ends_before_it_is_ready_is_reported_with_its_last_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        command = Command("broken", (sys.executable, "-c", "raise SystemExit('no disk')"), tmp_path / "log")
        part = Supervised(command, never)
        await part.start()
        with pytest.raises(Unavailable, match="broken ended with 1: no disk"):
            await part.until_ready(10)
        await part.stop(5)

    run(scenario())


def test_a_part_that_is_never_ready_is_reported_and_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        part = Supervised(Command("slow", SLEEPER, tmp_path / "log"), never)
        await part.start()
        with pytest.raises(Unavailable, match=r"slow was not ready within 0\.3 s"):
            await part.until_ready(0.3)
        assert is_alive(part.pid or 0)
        await part.stop(5)

    run(scenario())


def test_what_ignores_sigterm_is_killed_with_all_its_children(tmp_path: Path) -> None:
    code = (
        "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\nif child: print(child, flush=True)\ntime.sleep(60)"
    )

    async def scenario() -> None:
        log = tmp_path / "log"
        part = Supervised(Command("stubborn", (sys.executable, "-c", code), log), always)
        await part.start()
        await until(lambda: log.read_text() != "")
        pids = [part.pid or 0, int(log.read_text())]
        await part.stop(0.3)
        await until(lambda: not any(is_alive(pid) for pid in pids))

    run(scenario())


def test_a_log_that_has_grown_large_makes_room(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.truncate(17 * 1024 * 1024)

    async def scenario() -> None:
        part = Supervised(Command("sleeper", SLEEPER, log), always)
        await part.start()
        await part.stop(5)

    run(scenario())
    assert log.stat().st_size < 1000
    assert (tmp_path / "log.1").exists()


SUPERVISOR = """
import asyncio, sys, uvloop
from pathlib import Path
from eventrunner.local.process import Command
from eventrunner.local.supervisor import Supervised
async def always(): return True
async def main():
    child = "import os,time\\nfrom eventrunner.local.lifeline import die_with_parent\\n" \\
        "os.register_at_fork(after_in_child=die_with_parent)\\npid = os.fork()\\n" \\
        "print(os.getpid(), flush=True)\\ntime.sleep(60)"
    parts = [Supervised(Command(name, (sys.executable, "-c", child), Path(sys.argv[1], name)), always) for name in "ab"]
    for part in parts: await part.start()
    print("started", flush=True)
    await asyncio.sleep(60)
uvloop.run(main())
"""


def test_no_child_or_grandchild_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with supervisor:
        assert supervisor.stdout is not None
        supervisor.stdout.readline()
        pids = _written(tmp_path, 4)
        supervisor.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _written(folder: Path, number: int) -> list[int]:
    deadline = time.monotonic() + 10
    while True:
        pids = [int(line) for path in folder.iterdir() for line in path.read_text().split()]
        if len(pids) == number:
            assert all(is_alive(pid) for pid in pids)
            return pids
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_another_process_takes_over_when_it_is_ready_and_is_kept_running(tmp_path: Path) -> None:
    async def scenario() -> None:
        part = Supervised(Command("sleeper", SLEEPER, tmp_path / "log"), always)
        await part.start()
        old, ready = part.pid, False

        async def is_ready() -> bool:
            return ready

        new = Command("newer", SLEEPER, tmp_path / "log")
        replacing = asyncio.create_task(part.replace(new, is_ready, patience=10, grace=5))
        await asyncio.sleep(0.3)
        assert old
        assert is_alive(old)
        assert part.pid == old
        ready = True
        await replacing
        assert not is_alive(old)
        assert part.pid
        assert part.pid != old
        assert part.restarts == 0
        first = part.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: part.restarts == 1 and part.pid != first)
        await part.stop(5)

    run(scenario())


def test_a_process_stays_when_the_one_that_should_take_over_does_not_become_ready(tmp_path: Path) -> None:
    async def scenario() -> None:
        part = Supervised(Command("sleeper", SLEEPER, tmp_path / "log"), always)
        await part.start()
        old = part.pid
        assert old
        broken = Command("broken", (sys.executable, "-c", "raise SystemExit('no disk')"), tmp_path / "log")
        with pytest.raises(Unavailable, match="broken ended with 1: no disk"):
            await part.replace(broken, never, patience=10, grace=5)
        assert part.pid == old
        assert is_alive(old)
        os.kill(old, signal.SIGKILL)
        await until(lambda: part.restarts == 1 and part.pid != old)
        assert part.command.name == "sleeper"
        await part.stop(5)

    run(scenario())
