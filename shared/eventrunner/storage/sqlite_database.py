"""Connections to one SQLite file: one writer a process, a few readers, errors as ours."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eventrunner.errors import ConfigurationError, Unavailable
from eventrunner.storage.migrations import migrations

__all__ = ["SqliteDatabase"]

_BUSY_SECONDS = 5.0

# Measured with 336 776 rows of 450 bytes on a shared machine: pages of 4, 8 and 16 KiB cost the same within the noise,
# much smaller checkpoints cost more, and so did mmap with two writing processes.
_PAGE_BYTES = 8192
_CACHE_KIB = 32 * 1024
_CHECKPOINT_PAGES = 2000

_RETRYABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
}


class SqliteDatabase:
    """All writes of a process go through one connection under a lock. SQLite has one writer anyway, and a connection
    loses its page cache whenever another one has written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, durable when the block has ended without an error."""
        with self._lock, self._errors():
            if self._writer is None:
                self._writer = self._connect()
                self._writer.execute("pragma busy_timeout = 0")
            with _transaction(self._writer, "begin immediate"):
                yield self._writer

    @contextmanager
    def overwriting(self) -> Iterator[sqlite3.Connection]:
        """As `writing`; what is deleted is overwritten in the file."""
        with self.writing() as db:
            db.execute("pragma secure_delete = on")
            try:
                yield db
            finally:
                db.execute("pragma secure_delete = off")

    def truncate_log(self) -> None:
        """Leaves nothing in the write-ahead log, unless somebody reads from it just now."""
        with self._lock, self._errors():
            if self._writer is not None:
                self._writer.execute("pragma wal_checkpoint(truncate)").fetchone()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One snapshot."""
        with self._errors():
            try:
                reader = self._readers.pop()
            except IndexError:
                reader = self._connect()
            try:
                with _transaction(reader, "begin"):
                    yield reader
            finally:
                self._readers.append(reader)

    def migrate(self) -> None:
        with self._errors():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = self._connect(create=True)
            try:
                with _transaction(connection, "begin immediate"):
                    _migrate(connection)
            finally:
                connection.close()

    def close(self) -> None:
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
        while self._readers:
            self._readers.pop().close()

    def _connect(self, *, create: bool = False) -> sqlite3.Connection:
        if not create and not self._path.exists():
            raise ConfigurationError(f"There is no event store at {self._path} yet: call migrate() first.")
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=32
        )
        try:
            _configure(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            # The low byte is the primary code: https://www.sqlite.org/rescode.html
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _RETRYABLE:
                raise Unavailable(f"The event store {self._path} cannot be used now: {error}.") from error
            raise ConfigurationError(f"The event store {self._path} does not work: {error}.") from error
        except OSError as error:
            raise Unavailable(f"The event store {self._path} cannot be used now: {error}.") from error


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    _execute_patiently(connection, begin)
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute(f"pragma page_size = {_PAGE_BYTES}")
    _execute_patiently(connection, "pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute(f"pragma cache_size = -{_CACHE_KIB}")
    connection.execute(f"pragma wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    # Debian's build overwrites freed content with zeros by default.
    connection.execute("pragma secure_delete = off")


def _execute_patiently(connection: sqlite3.Connection, statement: str) -> None:
    """Tries again every millisecond while another process writes. SQLite's own busy timeout sleeps up to 100 ms at a
    time, which starves one of two busy writers, and does not apply to the switch to WAL."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.001)


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute(
        "create table if not exists schema_version (version integer primary key, name text, applied text)"
    )
    (current,) = connection.execute("select coalesce(max(version), 0) from schema_version").fetchone()
    for migration in migrations("sqlite"):
        if migration.version > current:
            for statement in migration.statements:
                connection.execute(statement)
            connection.execute(
                "insert into schema_version values (?, ?, datetime('now'))", (migration.version, migration.name)
            )
