"""Brings a ClickHouse database up to date: numbered files, each applied once, each harmless when applied twice."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import NamedTuple

from eventrunner.storage.clickhouse import ClickHouse

__all__ = ["Migration", "migrate", "migrations"]

_FILE = re.compile(r"(\d{4})_(\w+)\.sql")


class Migration(NamedTuple):
    version: int
    name: str
    statements: tuple[str, ...]


def migrations() -> list[Migration]:
    """All that ship, in order."""
    found = []
    for file in files("eventrunner.storage").joinpath("migrations_clickhouse").iterdir():
        if match := _FILE.fullmatch(file.name):
            text = re.sub(r"^--.*\n", "", file.read_text(), flags=re.MULTILINE)
            statements = tuple(part.strip() for part in text.split(";\n") if part.strip())
            found.append(Migration(int(match[1]), match[2], statements))
    return sorted(found)


def migrate(clickhouse: ClickHouse) -> list[int]:
    """Returns the versions it applied. Several processes may do this at once: every statement is idempotent."""
    clickhouse.command(f"CREATE DATABASE IF NOT EXISTS {clickhouse.database}", use_database=False)
    clickhouse.command(
        "CREATE TABLE IF NOT EXISTS schema_migrations (version UInt32, name String, applied DateTime DEFAULT now())"
        " ENGINE = MergeTree ORDER BY version"
    )
    known = {row[0] for row in clickhouse.query("SELECT DISTINCT version FROM schema_migrations")}
    applied = []
    for migration in migrations():
        if migration.version in known:
            continue
        for statement in migration.statements:
            clickhouse.command(statement.rstrip(";"))
        columns = {"version": "UInt32", "name": "String"}
        clickhouse.insert("schema_migrations", columns, [[[migration.version], [migration.name]]])
        applied.append(migration.version)
    return applied
