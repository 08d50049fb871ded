"""What a replay leaves in an event store. A store's test module inherits `ReplaySuite` and gives it its `store`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from eventrunner.ids import new_id
from eventrunner.replay.outbox import Outbox
from eventrunner.replay.record import Replay, Target
from eventrunner.replay.targets import Takers
from eventrunner.storage.event_store import EventStore, Row
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.records import RULES, TENANTS, RuleSet, RuleVersion, Tenant
from support_api import registry_with_streams

from tests.unit.storage.event_store_suite import DAY, expire_until, ids, make_row, rfc3339

__all__ = ["ReplaySuite"]

_RULE = 'rule R { when Event.id == "cause" then Emit("derived"); Retract("R"); }'
_DAYS = 3


class ReplaySuite:
    @pytest.fixture
    def store(self) -> EventStore:
        raise NotImplementedError

    @pytest.fixture
    def registry(self, tmp_path: Path) -> Iterator[Mirror]:
        with registry_with_streams(tmp_path) as registry:
            yield registry

    def test_what_is_derived_is_kept_no_longer_than_what_it_was_derived_from(
        self, store: EventStore, registry: Mirror
    ) -> None:
        tenant = f"T{new_id()}"
        registry.put(TENANTS, tenant, Tenant(tenant, retention_days=_DAYS).to_json())
        registry.put(RULES, f"{tenant}.r", RuleSet(tenant, "r", 1, [RuleVersion(1, _RULE)]).to_json())
        now = time.time_ns() // 1000
        cause = _row(tenant, "cause", now - _DAYS * DAY + 4_000_000)
        for row in (cause, _row(tenant, "young", now)):
            store.put([row])
        replay = Replay(tenant, "r1", now - 9 * DAY, now, Target(rules="r", version=1))
        Takers(registry.get, store, Outbox(registry)).of(replay)([cause.body], replay)
        assert replay.counts.derived == 1
        expire_until(store, tenant, _DAYS, left=1)
        assert ids(store.list(tenant).bodies) == ["young"]


def _row(tenant: str, id: str, received: int) -> Row:
    return make_row(tenant, id, received=received, receivedtime=rfc3339(received), days=_DAYS)
