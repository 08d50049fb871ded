"""The real Grule engine, for comparison: a Go program of the source tree, built where Go is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import msgspec

from eventrunner.errors import Unavailable

__all__ = ["GruleFigures", "bench_grule", "grule_binary"]

_ROOT = Path(__file__).parents[3]
_SOURCE = _ROOT / "tests" / "peers" / "grule"
_BINARY = _ROOT / ".cache" / "grule-1.20.4" / "oracle"
_BUILD_SECONDS = 1400
_RUN_SECONDS = 300


class GruleFigures(msgspec.Struct):
    build_seconds: float
    seconds: float
    """CPU time that the events took."""
    events: int
    fired: int


def grule_binary() -> Path:
    """The oracle, built if its sources are newer. Raises Unavailable if there is no Go or no source tree."""
    if shutil.which("go") is None:
        raise Unavailable("Go is not installed.")
    sources = [*_SOURCE.glob("*.go"), *_SOURCE.glob("go.*")]
    if not sources:
        raise Unavailable(f"The sources of the comparison are not in {_SOURCE}.")
    newest = max(path.stat().st_mtime for path in sources)
    if not _BINARY.exists() or _BINARY.stat().st_mtime < newest:
        _build()
    return _BINARY


def _build() -> None:
    # Several processes may build at once: each moves a whole file into place.
    fresh = _BINARY.with_name(f"oracle-{os.getpid()}")
    command = ["nice", "-n", "15", "go", "build", "-o", str(fresh), "."]
    done = subprocess.run(command, cwd=_SOURCE, check=False, capture_output=True, text=True, timeout=_BUILD_SECONDS)
    if done.returncode:
        raise Unavailable(f"The Go program cannot be built: {done.stderr.strip()}")
    fresh.rename(_BINARY)


def bench_grule(binary: Path, rules: Path, events: Path) -> GruleFigures:
    """Takes the events of a file, one a line, through the rules; on one thread, Go's collector included."""
    command = [str(binary), "bench", str(rules), str(events)]
    environment = {**os.environ, "GOMAXPROCS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, timeout=_RUN_SECONDS, env=environment)
    return msgspec.json.decode(done.stdout, type=GruleFigures)
