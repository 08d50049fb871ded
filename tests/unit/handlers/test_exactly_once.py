from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from eventrunner.storage.analytics import Analytics
from eventrunner.storage.event_store import EventStore
from eventrunner.storage.stores import open_store
from exactly_once_suite import ExactlyOnceSuite
from support_clickhouse import chdb_process


@pytest.fixture(scope="module")
def shared_analytics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Analytics]:
    with chdb_process(tmp_path_factory.mktemp("chdb")) as process, process.analytics() as analytics:
        yield analytics


class TestSqlite(ExactlyOnceSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[EventStore]:
        store = open_store(f"sqlite:///{tmp_path}/events.db")
        store.migrate()
        yield store
        store.close()

    @pytest.fixture
    def analytics(self, shared_analytics: Analytics) -> Analytics:
        return shared_analytics
