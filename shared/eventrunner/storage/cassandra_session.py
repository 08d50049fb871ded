"""A lazily opened session with Cassandra or ScyllaDB, its URL, and its errors as ours."""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cassandra import (
    AuthenticationFailed,
    ConsistencyLevel,
    OperationTimedOut,
    RequestExecutionException,
    RequestValidationException,
    UnresolvableContactPoints,
)
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.connection import ConnectionException
from cassandra.policies import (
    ConstantReconnectionPolicy,
    DCAwareRoundRobinPolicy,
    RoundRobinPolicy,
    TokenAwarePolicy,
)
from cassandra.protocol import ErrorMessage
from cassandra.query import tuple_factory

from eventrunner.errors import ConfigurationError, Unavailable
from eventrunner.storage.migrations import migrations

__all__ = ["CassandraSession", "CassandraUrl"]

_KEYSPACE = re.compile(r"[a-z][a-z0-9_]{0,47}")
_DATACENTER = re.compile(r"[A-Za-z0-9_.-]+")
_TIMEOUT_SECONDS = 10.0
_RECONNECT_SECONDS = 0.25
"""Between two tries to reach a node that is away. The driver's own pauses grow to ten minutes."""
_IN_FLIGHT = 64
"""Statements of one call that run side by side: enough to keep a node busy, few enough for it to hold."""
# The newest protocol that ScyllaDB and every supported Cassandra speak; without it the driver tries downwards.
_PROTOCOL = 4


@dataclass(frozen=True, slots=True)
class CassandraUrl:
    hosts: tuple[tuple[str, int], ...]
    keyspace: str
    user: str | None
    password: str
    datacenter: str | None
    """Whose nodes to talk to; None for all."""
    replication: str
    """CQL map with which `migrate` creates the keyspace."""

    @property
    def where(self) -> str:
        """The URL without credentials and options."""
        return ",".join(f"{host}:{port}" for host, port in self.hosts) + "/" + self.keyspace

    @classmethod
    def parse(cls, url: str) -> CassandraUrl:
        """`cassandra://[user:password@]host[:port][,host…]/keyspace[?datacenter=dc1][&replication=…]`, where
        replication is a number of copies or `dc1:3,dc2:2`. Raises ConfigurationError for anything else."""
        try:
            return cls._parse(url)
        except ValueError as error:
            raise ConfigurationError(
                f"The event store's URL does not work ({error}): use cassandra://host[:port][,host]/keyspace."
            ) from None

    @classmethod
    def _parse(cls, url: str) -> CassandraUrl:
        parts = urlsplit(url)
        login, _, hosts = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        keyspace = parts.path.removeprefix("/")
        if not _KEYSPACE.fullmatch(keyspace):
            raise ValueError(f"{keyspace!r} is no keyspace")
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        replication = _replication(options.pop("replication", "1"))
        datacenter = options.pop("datacenter", None)
        if options:
            raise ValueError(f"unknown option {', '.join(options)}")
        addresses = tuple(_address(host) for host in hosts.split(","))
        return cls(addresses, keyspace, unquote(user) or None, unquote(password), datacenter, replication)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    if not host or (port and not port.isdigit()):
        raise ValueError(f"{text!r} is no host")
    return host, int(port or 9042)


def _replication(text: str) -> str:
    if text.isdigit():
        return f"{{'class': 'SimpleStrategy', 'replication_factor': {int(text)}}}"
    copies = [item.partition(":") for item in text.split(",")]
    if not all(_DATACENTER.fullmatch(name) and number.isdigit() for name, _, number in copies):
        raise ValueError(f"{text!r} is no replication")
    return "{'class': 'NetworkTopologyStrategy', " + ", ".join(f"'{name}': {n}" for name, _, n in copies) + "}"


class CassandraSession:
    """Prepares each statement once. Safe to share between threads; opened by the first use."""

    def __init__(self, url: CassandraUrl) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._prepared: dict[str, Any] = {}

    def prepare(self, query: str) -> Any:
        statement = self._prepared.get(query)
        if statement is None:
            with self._errors():
                statement = self._prepared[query] = self._open().prepare(query)
        return statement

    def execute(self, query: str, *values: object) -> list[Any]:
        """All rows, as tuples."""
        statement = self.prepare(query)
        with self._errors():
            return list(self._open().execute(statement, values))

    def execute_all(self, statements: Iterable[Any]) -> list[list[Any]]:
        """The rows of each of these bound or batch statements, of which some run side by side."""
        with self._errors():
            session = self._open()
            running: deque[Any] = deque()
            answers: list[list[Any]] = []
            try:
                for statement in statements:
                    if len(running) == _IN_FLIGHT:
                        answers.append(list(running.popleft().result()))
                    running.append(session.execute_async(statement))
                answers += [list(future.result()) for future in running]
            except BaseException:
                _wait_for_all(running)
                raise
            return answers

    def migrate(self) -> None:
        """One process at a time: Cassandra can take two schema changes made side by side for two tables."""
        with self._errors(), _cluster(self._url) as cluster:
            session = cluster.connect()
            keyspace = self._url.keyspace
            session.execute(f"create keyspace if not exists {keyspace} with replication = {self._url.replication}")
            session.set_keyspace(keyspace)
            _migrate(session)

    def close(self) -> None:
        with self._lock:
            if self._session is not None:
                self._session.cluster.shutdown()
                self._session = None
                self._prepared = {}

    def _open(self) -> Session:
        if self._session is None:
            with self._lock:
                if self._session is None:
                    self._session = self._connect()
        return self._session

    def _connect(self) -> Session:
        cluster = _cluster(self._url)
        try:
            session = cluster.connect()
            # Not given to connect, which takes a keyspace that is missing for a server that is away.
            session.set_keyspace(self._url.keyspace)
            return session
        except BaseException:
            cluster.shutdown()
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except _RETRYABLE as error:
            raise Unavailable(f"The event store at {self._url.where} cannot be used now: {error}.") from error
        except (RequestValidationException, AuthenticationFailed) as error:
            raise ConfigurationError(
                f"The event store at {self._url.where} does not work: {error}. Has it been migrated?"
            ) from error


def _wait_for_all(futures: Iterable[Any]) -> None:
    """So that nothing of a call that failed is still written when it is made again."""
    for future in futures:
        with suppress(Exception):
            future.result()


_RETRYABLE = (
    RequestExecutionException,
    OperationTimedOut,
    NoHostAvailable,
    UnresolvableContactPoints,
    ConnectionException,
    # Server errors that the driver has no exception of its own for, such as a node that is starting.
    ErrorMessage,
)


def _cluster(url: CassandraUrl) -> Cluster:
    # Its warnings say that a node is away, at every try to reach it; `cassandra.cluster` says so once.
    logging.getLogger("cassandra.pool").setLevel(logging.ERROR)
    nearest = DCAwareRoundRobinPolicy(url.datacenter) if url.datacenter else RoundRobinPolicy()
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(nearest),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        request_timeout=_TIMEOUT_SECONDS,
        row_factory=tuple_factory,
    )
    return Cluster(
        contact_points=list(url.hosts),
        auth_provider=PlainTextAuthProvider(url.user, url.password) if url.user else None,
        protocol_version=_PROTOCOL,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connect_timeout=_TIMEOUT_SECONDS,
        reconnection_policy=ConstantReconnectionPolicy(_RECONNECT_SECONDS, max_attempts=None),
    )


def _migrate(session: Session) -> None:
    session.execute("create table if not exists schema_version (version int primary key, name text, applied timestamp)")
    applied = {version for (version,) in session.execute("select version from schema_version")}
    for migration in migrations("cassandra"):
        if migration.version not in applied:
            for statement in migration.statements:
                session.execute(statement)
            session.execute(
                "insert into schema_version (version, name, applied) values (%s, %s, totimestamp(now()))",
                (migration.version, migration.name),
            )
