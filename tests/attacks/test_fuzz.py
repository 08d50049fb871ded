"""Ten thousand mutated files never crash or hang the process that they are loaded and run in.

`make fuzz` tries more, with a seed of its own; EVENTRUNNER_FUZZ_FILES and EVENTRUNNER_FUZZ_SEED do so here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support_guests import require_toolchain

from tests.attacks.fuzzing import SEED

ROOT = Path(__file__).parents[2]
FILES = int(os.environ.get("EVENTRUNNER_FUZZ_FILES", "10000"))
TOLD = 2_000
"""Characters of what a process that crashed has said last."""


@pytest.mark.timeout(300 + FILES // 10)
def test_mutated_files_do_no_harm() -> None:
    require_toolchain()
    seed = os.environ.get("EVENTRUNNER_FUZZ_SEED", str(SEED))
    command = [sys.executable, "-m", "tests.attacks.fuzzing", "--seed", seed, "--count", str(FILES)]
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, (
        f"ended with {done.returncode}; the last number is that of the file, which `python -m tests.attacks.fuzzing "
        f"--seed {seed} --first NUMBER --count 1 --keep FILE` makes again:\n{done.stderr[-TOLD:]}"
    )
    assert f"seed {seed}: {FILES} files" in done.stdout
