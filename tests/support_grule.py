"""The real Grule engine as a process that answers requests of `eventrunner rules run`, and what of an answer counts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from eventrunner.cli.bench_grule import grule_binary
from eventrunner.errors import Unavailable
from support import unavailable

__all__ = ["Oracle", "comparable", "oracle_process"]

_EXACT_DIGITS = 12


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
    try:
        command = [str(grule_binary())]
    except Unavailable as error:
        unavailable(str(error))
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
