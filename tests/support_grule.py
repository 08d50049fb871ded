"""The real Grule engine as a process that answers requests of `eventrunner rules run`, and what of an answer counts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from support import require

__all__ = ["Oracle", "build_oracle", "comparable", "oracle_process"]

ROOT = Path(__file__).parents[1]
_SOURCE = ROOT / "tests" / "peers" / "grule"
_BINARY = ROOT / ".cache" / "grule-1.20.4" / "oracle"
_EXACT_DIGITS = 12


def build_oracle() -> Path:
    """Builds the oracle where its sources have changed; go's own cache makes that a second."""
    require("go")
    newest = max(path.stat().st_mtime for path in (*_SOURCE.glob("*.go"), _SOURCE / "go.mod"))
    if not _BINARY.exists() or _BINARY.stat().st_mtime < newest:
        # Several workers may build at once: each moves a whole file into place.
        fresh = _BINARY.with_name(f"oracle-{os.getpid()}")
        command = ["nice", "-n", "15", "go", "build", "-o", str(fresh), "."]
        subprocess.run(command, cwd=_SOURCE, check=True, timeout=1400)
        fresh.rename(_BINARY)
    return _BINARY


class Oracle:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(msgspec.json.encode(request) + b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline())


@contextmanager
def oracle_process() -> Iterator[Oracle]:
    command = [str(build_oracle())]
    # Rules make times in the local zone.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1 << 16) as process:
        yield Oracle(process)
        assert process.stdin
        process.stdin.close()
        process.wait(timeout=10)


def comparable(answer: dict[str, Any], strict: bool) -> dict[str, Any]:
    """An answer without what Grule leaves to chance.

    - Which conditions failed is a set; a strict execution ends with any of them.
    - Go reads every number into a float64, writes the last digits of functions like `Gamma` differently, and the sign
      of its `-0` is lost when it is read as an integer.
    - A salience beyond 32 bits is a panic there, a syntax error here (docs/grl.md).
    """
    known = {name: value for name, value in answer.items() if name != "detail"}
    if answer.get("detail") == "Salience value out of range":
        known["error"] = "syntax"
    known["eval_failed"] = None if strict and answer["error"] == "eval" else sorted(answer["eval_failed"])
    known["facts"] = _rounded(answer["facts"])
    return known


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{float(value) + 0.0:.{_EXACT_DIGITS}g}"
    return value
