from __future__ import annotations

from collections import Counter

from eventrunner.cli.flights import CARRIERS, expected_alerts, read_flights
from eventrunner.events import check_event, decode_event


def test_every_flight_is_a_valid_event_with_an_id_of_its_own() -> None:
    carriers: Counter[str] = Counter()
    cancelled = 0
    identities = set()
    for number, (carrier, line) in enumerate(read_flights()):
        carriers[carrier] += 1
        cancelled += b'"type":"flight.cancelled"' in line
        identities.add((carrier, line.split(b'"', 12)[7], line.split(b'"', 12)[11]))
        if number % 1000 == 0:
            event = check_event(decode_event(line))
            data = event.decoded_data()
            assert event.source == f"/nycflights13/{data['origin']}"
            assert data["carrier"] == carrier
            assert ("dep_time" in data) == (event.type == "flight.departed")
    assert carriers == CARRIERS
    assert cancelled == 8255
    assert len(identities) == 336_776


def test_the_scheduled_departure_is_the_time_in_utc() -> None:
    _, line = next(read_flights())
    event = decode_event(line)
    # Scheduled for 05:15 on 1 January in New York, five hours behind UTC.
    assert event.time == "2013-01-01T10:15:00Z"
    assert event.id == "2013-01-01-UA-1545-EWR"


def test_pandas_counts_an_alert_for_every_cancelled_or_severely_late_flight() -> None:
    alerts = expected_alerts()
    assert set(alerts) == set(CARRIERS)
    assert sum(alerts.values()) >= 8255
