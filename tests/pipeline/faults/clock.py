"""The time of day of the platform, which can be set while it runs (`clock.c` is put before the C library).

Whatever the platform starts inherits it: the gateway, the functions and the source adapter go by it. nats-server (which
asks the kernel itself), ClickHouse's engine (which brings its own C library) and Cassandra (which is started beside)
keep the machine's own time, as other machines would.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Final

from eventrunner.clock import utc_now

__all__ = ["MachineClock"]

_SOURCE: Final = Path(__file__).with_name("clock.c")
_FARTHEST: Final = 2 * 3600


@dataclass(frozen=True, slots=True)
class MachineClock:
    library: Path
    shift: Path
    """Seconds, which all processes share."""

    @classmethod
    def make(cls, folder: Path) -> MachineClock | None:
        """None where there is no C compiler."""
        compiler = shutil.which("cc")
        if compiler is None:
            return None
        clock = cls(folder / "clock.so", folder / "clock")
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", clock.library, _SOURCE], check=True)
        clock.shift.write_bytes(bytes(8))
        return clock

    @property
    def environ(self) -> Mapping[str, str]:
        return {"LD_PRELOAD": str(self.library), "FAULTS_CLOCK": str(self.shift)}

    def jump(self, random: Random) -> None:
        """To a time up to two hours before or after the true one."""
        seconds = random.randint(-_FARTHEST, _FARTHEST)
        now = utc_now()
        if (now + timedelta(seconds=seconds)).month != now.month:
            # The invoice that is looked at is the one of this month.
            seconds = -seconds
        with self.shift.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
            shared[:] = struct.pack("=q", seconds)
