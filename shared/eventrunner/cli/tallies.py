"""Counts what the platform holds, straight from its stores, so that the demo does not take the API's word for it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Any

from eventrunner.cli.platform_process import RunningPlatform
from eventrunner.cli.processes import sample_tree
from eventrunner.errors import Unavailable
from eventrunner.storage.stores import open_store

__all__ = ["Tallies"]

_ANALYSED = "SELECT countIf(causeid = '') AS count FROM events"
_BY_TENANT = """
SELECT tenantid, countIf(type LIKE 'flight.%' AND causeid = '') AS flights, countIf(type = 'flight.alert') AS alerts
FROM (SELECT DISTINCT tenantid, source, id, type, causeid FROM events) GROUP BY tenantid
"""


class Tallies:
    def __init__(self, platform: RunningPlatform) -> None:
        self._platform = platform

    def analysed(self) -> int:
        """Events in ClickHouse that came from outside; a redelivered one may count twice."""
        rows = self._query(_ANALYSED)
        return int(rows[0]["count"]) if rows else 0

    def stored(self, tenants: Iterable[str]) -> dict[str, int]:
        """Flights in the event store by tenant; the alerts that rules derived are stored too and left out here."""
        store = open_store(self._platform.store)
        try:
            return {tenant: store.count(tenant) for tenant in tenants}
        finally:
            store.close()

    def flights_and_alerts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Flights and alerts in ClickHouse by tenant, each identity once."""
        rows = self._query(_BY_TENANT)
        flights = {row["tenantid"]: int(row["flights"]) for row in rows}
        return flights, {row["tenantid"]: int(row["alerts"]) for row in rows}

    def resident(self) -> int:
        """Bytes of memory of the whole platform."""
        return sum(sample.resident for sample in sample_tree(self._platform.pid))

    def _query(self, query: str) -> list[dict[str, Any]]:
        server, _, database = self._platform.clickhouse.rpartition("/")
        url = f"{server}/?database={database}&default_format=JSONEachRow"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data=query.encode()), timeout=60) as response:
                return [json.loads(line) for line in response.read().splitlines()]
        except urllib.error.HTTPError as error:
            with error:
                # The analytics function makes the tables when the first events come.
                if error.code == 404:
                    return []
                raise Unavailable(f"ClickHouse: {error.read(500).decode(errors='replace')}") from error
