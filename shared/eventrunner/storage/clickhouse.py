"""The connection to ClickHouse, a server's or the embedded one's, with its errors told apart."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from eventrunner.errors import ConfigurationError, EventRunnerError, InvalidInput, Unavailable

__all__ = ["ClickHouse", "ClickHouseUrl"]

_TIMEOUT_SECONDS: Final = 120

# What the rows of an insert are to blame for: they do not parse, do not convert or are out of range.
_DATA_CODES: Final = frozenset({6, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 131, 349, 395, 407})
# What asking again does not mend.
_FINAL_CODES: Final = frozenset({36, 42, 43, 44, 46, 47, 48, 62, 115})


@dataclass(frozen=True, slots=True)
class ClickHouseUrl:
    host: str
    port: int
    database: str
    secure: bool = False
    user: str = "default"
    password: str = ""

    @classmethod
    def parse(cls, url: str) -> ClickHouseUrl:
        """`http(s)://[user:password@]host[:port]/database`. Raises ConfigurationError."""
        parts = urlsplit(url)
        database = parts.path.strip("/")
        if parts.scheme not in ("http", "https") or not parts.hostname or not database.isidentifier():
            raise ConfigurationError("The ClickHouse URL must be http(s)://[user:password@]host[:port]/database.")
        secure = parts.scheme == "https"
        return cls(
            host=parts.hostname,
            port=parts.port or (8443 if secure else 8123),
            database=database,
            secure=secure,
            user=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
        )


class ClickHouse:
    """Connects on the first call, so that it may be made before a fork. Safe to share between threads.

    Every method raises Unavailable while the server is away or overloaded, and InvalidInput for rows it cannot hold.
    """

    def __init__(self, url: ClickHouseUrl) -> None:
        self.database = url.database
        self._url = url
        self._client: Any = None
        self._lock = threading.Lock()

    def query(self, sql: str, parameters: dict[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        with _errors():
            rows: Sequence[Sequence[Any]] = self._connected().query(sql, parameters=parameters).result_rows
            return rows

    def command(self, sql: str, *, use_database: bool = True) -> None:
        with _errors():
            self._connected().command(sql, use_database=use_database)

    def insert(self, table: str, columns: dict[str, str], blocks: Iterable[Sequence[Sequence[Any]]]) -> None:
        """Writes blocks of whole columns in one statement; `columns` gives the type of each, in the order of a block's
        values. Each block is written out before the next is taken. Nothing happens without a block."""
        with _errors():
            client = self._connected()
            if body := b"".join(_native(columns, block) for block in blocks):
                client.raw_insert(table, list(columns), body, fmt="Native")

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _connected(self) -> Any:
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = self._connect()
        return self._client

    def _connect(self) -> Any:
        import clickhouse_connect
        from clickhouse_connect.driver import options

        # To see whether rows are a data frame, an insert would import pandas and numpy if they are installed: a second
        # of CPU and 60 MB before the first answer. Ours never are.
        for name in ("pd", "np"):
            vars(options).setdefault(name, None)
        client = clickhouse_connect.get_client(
            host=self._url.host,
            port=self._url.port,
            interface="https" if self._url.secure else "http",
            username=self._url.user,
            password=self._url.password,
            # The blocks are large and the network is near; ClickHouse compresses what it stores by itself.
            compress=False,
            # A session would allow one statement at a time.
            autogenerate_session_id=False,
            send_receive_timeout=_TIMEOUT_SECONDS,
        )
        # Only now: the database need not exist yet when the connection is made.
        client.database = self._url.database
        return client


def _native(columns: dict[str, str], values: Sequence[Sequence[Any]]) -> bytes:
    """A block in ClickHouse's Native format, of which a body may hold several."""
    from clickhouse_connect.datatypes.registry import get_from_name
    from clickhouse_connect.driver.common import write_leb128
    from clickhouse_connect.driver.insert import InsertContext

    # Without the values: a context that has some is part of a reference cycle, which holds them until the collector
    # comes, megabytes and some thousand page faults later.
    context = InsertContext("", list(columns), [])
    block = bytearray()
    write_leb128(len(columns), block)
    write_leb128(len(values[0]), block)
    for (name, type_name), column in zip(columns.items(), values, strict=True):
        for text in (name.encode(), type_name.encode()):
            write_leb128(len(text), block)
            block += text
        context.start_column(name)
        get_from_name(type_name).write_column(column, block, context)
    return bytes(block)


@contextmanager
def _errors() -> Iterator[None]:
    from clickhouse_connect.driver.exceptions import DataError, Error

    try:
        yield
    except (DataError, UnicodeEncodeError, OverflowError) as error:
        raise InvalidInput(f"ClickHouse cannot hold a value: {error}") from error
    except Error as error:
        raise _translated(error) from error


def _translated(error: Any) -> EventRunnerError:
    text = str(error)
    if error.code in _DATA_CODES:
        return InvalidInput(f"ClickHouse cannot hold a value: {text}")
    if error.code in _FINAL_CODES:
        return EventRunnerError(f"ClickHouse refuses a statement: {text}")
    return Unavailable(f"ClickHouse does not answer as it should: {text}")
