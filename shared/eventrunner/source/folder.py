"""JetStreamSources that come and go: a folder with a file for each, written by renaming a finished one into it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from eventrunner.errors import ConfigurationError, EventRunnerError
from eventrunner.source.spec import SourceSpec, read_sources

__all__ = ["SourceFolder"]

_log = logging.getLogger(__name__)

_RACY: Final = 10**9
"""Nanoseconds after its time of change in which a folder may change once more without that being seen by the time."""
_ENDINGS: Final = (".yaml", ".yml")


class _Stamp(NamedTuple):
    """Tells one content of a file from the next, which is another file."""

    inode: int
    changed: int
    size: int


@dataclass(slots=True)
class _File:
    stamp: _Stamp
    sources: list[SourceSpec]


@dataclass(slots=True)
class SourceFolder:
    path: Path
    taken: Collection[str] = ()
    """Names of sources that are declared elsewhere."""
    _files: dict[str, _File] = field(default_factory=dict)
    _seen: int = -1
    _is_racy: bool = True

    def look(self) -> Mapping[str, SourceSpec] | None:
        """The sources by name; None while nothing has changed. What cannot be read is logged, once, and leaves what was
        read before as it is. Costs a system call while nothing changes."""
        try:
            changed = self.path.stat().st_mtime_ns
            if changed == self._seen and not self._is_racy:
                return None
            self._is_racy = time.time_ns() - changed < _RACY
            stamps = _stamps(self.path)
        except OSError as error:
            if self._seen >= 0:
                _log.error("%s cannot be read, its sources go on as they are: %s", self.path, error)
            self._seen, self._is_racy = -1, True
            return None
        self._seen = changed
        if {name: file.stamp for name, file in self._files.items()} == stamps:
            return None
        self._files = {name: self._read(name, stamp) for name, stamp in stamps.items()}
        return self._sources()

    def _read(self, name: str, stamp: _Stamp) -> _File:
        known = self._files.get(name)
        if known is not None and known.stamp == stamp:
            return known
        try:
            return _File(stamp, self._usable(read_sources([self.path / name])))
        except (EventRunnerError, OSError) as error:
            _log.error("%s is passed over: %s", self.path / name, error)
            return _File(stamp, known.sources if known is not None else [])

    def _usable(self, sources: list[SourceSpec]) -> list[SourceSpec]:
        for source in sources:
            if source.name in self.taken:
                raise ConfigurationError(f"There is a source {source.name} already.")
        return sources

    def _sources(self) -> dict[str, SourceSpec]:
        """Of two that would be one source, or read for one consumer, the file that comes first has it."""
        sources: dict[str, SourceSpec] = {}
        durables: set[tuple[str, str]] = set()
        for name in sorted(self._files):
            for source in self._files[name].sources:
                durable = (source.stream, source.consumer)
                if source.name in sources or durable in durables:
                    _log.error("%s is passed over: %s is in another file too", self.path / name, source.name)
                    continue
                sources[source.name] = source
                durables.add(durable)
        return sources


def _stamps(folder: Path) -> dict[str, _Stamp]:
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(_ENDINGS)]
    return {name: _Stamp(stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in found}
