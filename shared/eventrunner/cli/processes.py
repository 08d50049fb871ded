"""CPU time and memory of a process and all its descendants, read from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ProcessSample", "cpu_by_part", "sample_tree"]

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class ProcessSample:
    pid: int
    part: str
    """What the process is for: a function's name, `nats-server`, `source`, …"""
    cpu: float
    """Seconds of user and system time so far."""
    resident: int
    """Bytes, pages shared with other processes counted in each."""
    function: bool
    """Whether it serves a function."""


def cpu_by_part(root: int) -> dict[str, float]:
    """Seconds of CPU so far by part, of `root` and its descendants that still live."""
    total: dict[str, float] = {}
    for sample in sample_tree(root):
        total[sample.part] = total.get(sample.part, 0.0) + sample.cpu
    return total


def sample_tree(root: int) -> list[ProcessSample]:
    """One sample for each process that is `root` or descends from it; those that end meanwhile are left out."""
    parents: dict[int, int] = {}
    samples: dict[int, ProcessSample] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(entry.name)
        # The second field, the program's name in parentheses, may itself hold blanks and parentheses.
        values = stat.rpartition(")")[2].split()
        parents[pid] = int(values[1])
        cpu = (int(values[11]) + int(values[12])) / _TICK
        words = [word.decode(errors="replace") for word in command]
        function = any(word.endswith("/main.py") for word in words)
        samples[pid] = ProcessSample(pid, _part(words), cpu, int(values[21]) * _PAGE, function)
    return [samples[pid] for pid in samples if _descends(pid, root, parents)]


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid > 1:
        if pid == root:
            return True
        pid = parents.get(pid, 0)
    return False


def _part(command: list[str]) -> str:
    for word in command:
        if word.endswith("/main.py"):
            return Path(word).parent.name.replace("_", "-")
    if command and command[0].endswith("nats-server"):
        return "nats-server"
    for word in command:
        if word == "eventrunner.storage.chdb_server":
            return "clickhouse (chdb)"
        if word in ("source", "dev"):
            return "source adapter" if word == "source" else "gateway, activator"
    return Path(command[0]).name if command and command[0] else "?"
