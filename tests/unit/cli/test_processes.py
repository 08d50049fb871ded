from __future__ import annotations

import os
import subprocess
import sys

from eventrunner.cli.processes import cpu_by_part, sample_tree


def test_a_process_and_its_descendants_are_sampled() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()", "functions/my_stage/main.py"], stdin=subprocess.PIPE
    )
    try:
        samples = {sample.pid: sample for sample in sample_tree(os.getpid())}
        assert samples[os.getpid()].resident > 1_000_000
        assert (samples[child.pid].part, samples[child.pid].function) == ("my-stage", True)
        assert 1 not in samples
        assert "my-stage" in cpu_by_part(os.getpid())
    finally:
        child.communicate()
