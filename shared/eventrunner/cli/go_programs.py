"""Go programs of the source tree, built where Go is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from eventrunner.errors import Unavailable

__all__ = ["go_program"]

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
    if not built.exists() or built.stat().st_mtime < newest:
        _build(folder, built)
    return built


def _build(folder: Path, binary: Path) -> None:
    # Several processes may build at once: each moves a whole file into place.
    fresh = binary.with_name(f"{binary.name}-{os.getpid()}")
    command = ["nice", "-n", "15", "go", "build", "-o", str(fresh), "."]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=_BUILD_SECONDS)
    if done.returncode:
        raise Unavailable(f"The Go program cannot be built: {done.stderr.strip()}")
    fresh.rename(binary)
