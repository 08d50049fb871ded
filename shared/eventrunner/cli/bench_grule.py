"""The real Grule engine, for comparison."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec

from eventrunner.cli.go_programs import go_program

__all__ = ["GruleFigures", "bench_grule", "grule_binary"]

_RUN_SECONDS = 300


class GruleFigures(msgspec.Struct):
    build_seconds: float
    seconds: float
    """CPU time that the events took."""
    events: int
    fired: int


def grule_binary() -> Path:
    """Raises Unavailable if there is no Go or no source tree."""
    return go_program("grule", "grule-1.20.4/oracle")


def bench_grule(binary: Path, rules: Path, events: Path) -> GruleFigures:
    """Takes the events of a file, one a line, through the rules; on one thread, Go's collector included."""
    command = [str(binary), "bench", str(rules), str(events)]
    environment = {**os.environ, "GOMAXPROCS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, timeout=_RUN_SECONDS, env=environment)
    return msgspec.json.decode(done.stdout, type=GruleFigures)
