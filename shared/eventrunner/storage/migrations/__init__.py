"""The schemas as numbered files, `<engine>/<number>_<what>.<sql or cql>`. A released file never changes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple

__all__ = ["Migration", "migrations"]


class Migration(NamedTuple):
    version: int
    name: str
    statements: tuple[str, ...]


def migrations(engine: str) -> tuple[Migration, ...]:
    """Those of an engine in the order of their numbers. A statement ends with a semicolon at the end of a line."""
    return tuple(sorted(_read(engine)))


def _read(engine: str) -> Iterator[Migration]:
    for item in files(__name__).joinpath(engine).iterdir():
        number, _, rest = item.name.partition("_")
        if number.isdigit():
            parts = (part.strip() for part in item.read_text().split(";\n"))
            yield Migration(int(number), rest.rpartition(".")[0], tuple(part for part in parts if part))
