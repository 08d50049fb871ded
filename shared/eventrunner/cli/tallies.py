"""Counts what the platform holds, straight from its stores, so that the demo does not take the API's word for it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable
from typing import Any

from eventrunner.cli.platform_process import RunningPlatform
from eventrunner.cli.processes import sample_tree
from eventrunner.storage.event_store import open_store

__all__ = ["Tallies"]

_ANALYSED = "SELECT countIf(type != 'flight.alert') AS count FROM events"
_BY_TENANT = """
SELECT tenant_id, countIf(type != 'flight.alert') AS flights, countIf(type = 'flight.alert') AS alerts
FROM (SELECT DISTINCT tenant_id, source, id, type FROM events) GROUP BY tenant_id
"""


class Tallies:
    def __init__(self, platform: RunningPlatform) -> None:
        self._platform = platform

    def analysed(self) -> int:
        """Events in ClickHouse that came from outside; a redelivered one may count twice."""
        return int(self._query(_ANALYSED)[0]["count"])

    def stored(self, tenants: Iterable[str]) -> dict[str, int]:
        """Flights in the event store by tenant; the alerts that rules derived are stored too and left out here."""
        store = open_store(f"sqlite:///{self._platform.data_dir / 'events.db'}")
        try:
            return {tenant: store.count(tenant) for tenant in tenants}
        finally:
            store.close()

    def flights_and_alerts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Flights and alerts in ClickHouse by tenant, each identity once."""
        rows = self._query(_BY_TENANT)
        flights = {row["tenant_id"]: int(row["flights"]) for row in rows}
        return flights, {row["tenant_id"]: int(row["alerts"]) for row in rows}

    def resident(self) -> int:
        """Bytes of memory of the whole platform."""
        return sum(sample.resident for sample in sample_tree(self._platform.pid))

    def _query(self, query: str) -> list[dict[str, Any]]:
        url = f"{self._platform.clickhouse}?database=eventrunner&default_format=JSONEachRow"
        with urllib.request.urlopen(urllib.request.Request(url, data=query.encode()), timeout=60) as response:
            return [json.loads(line) for line in response.read().splitlines()]
