"""Opens the event store that a URL names."""

from __future__ import annotations

from urllib.parse import urlsplit

from eventrunner.errors import ConfigurationError
from eventrunner.storage.event_store import EventStore
from eventrunner.storage.sqlite_store import SqliteStore

__all__ = ["open_store"]


def open_store(url: str) -> EventStore:
    """`sqlite:///relative`, `sqlite:////absolute` or `cassandra://host[:port][,host…]/keyspace[?option=value]`.

    Raises ConfigurationError for any other URL.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        return SqliteStore.from_url(url)
    if scheme in ("cassandra", "scylla"):
        # Only here: its driver is not installed where SQLite is enough.
        from eventrunner.storage.cassandra_store import CassandraStore

        return CassandraStore.from_url(url)
    raise ConfigurationError(f"No event store at {url!r}: use sqlite:///path or cassandra://host/keyspace.")
