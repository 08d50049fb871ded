"""Go programs of the source tree, built where Go is installed."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from eventrunner.errors import Unavailable

__all__ = ["building", "go_program"]

_ROOT: Final = Path(__file__).parents[3]
_BUILD_SECONDS: Final = 1400


def go_program(source: str, binary: str) -> Path:
    """The program of folder `tests/peers/<source>`, built if it is newer than `.cache/<binary>`.

    Raises Unavailable if there is no Go or no source tree.
    """
    if shutil.which("go") is None:
        raise Unavailable("Go is not installed.")
    folder, built = _ROOT / "tests" / "peers" / source, _ROOT / ".cache" / binary
    sources = [*folder.glob("*.go"), *folder.glob("go.*")]
    if not sources:
        raise Unavailable(f"The sources of the program are not in {folder}.")
    newest = max(path.stat().st_mtime for path in sources)
    with building(built.parent):
        if not built.exists() or built.stat().st_mtime < newest:
            _build(folder, built)
    return built


@contextlib.contextmanager
def building(folder: Path) -> Iterator[None]:
    """What is built into the folder is built by one process at a time; the others wait and find it there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(folder: Path, binary: Path) -> None:
    # A build that is killed leaves no half a program.
    fresh = binary.with_name(f"{binary.name}-new")
    command = ["nice", "-n", "15", "go", "build", "-o", str(fresh), "."]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=_BUILD_SECONDS)
    if done.returncode:
        raise Unavailable(f"The Go program cannot be built: {done.stderr.strip()}")
    fresh.rename(binary)
