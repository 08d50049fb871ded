from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from eventrunner.errors import InvalidInput, MalformedBody
from eventrunner.events import USAGE_TYPE, Event, decode_batch, encode_batch
from eventrunner.storage.analytics_rows import EVENT_COLUMNS, event_columns, usage_records

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def row(event: Event) -> dict[str, object]:
    values = event_columns(decode_batch(encode_batch([event])), lambda: NOW)
    return {name: column[0] for name, column in zip(EVENT_COLUMNS, values, strict=True)}


def event(**attributes: object) -> Event:
    return Event(id="1", source="/s", type="t", tenantid="acme", **attributes)  # type: ignore[arg-type]


def test_a_derived_event_names_its_cause() -> None:
    derived = event(extensions={"causeid": "c", "causerule": "Late"})
    assert (row(derived)["causeid"], row(derived)["extensions"]) == ("c", '{"causerule":"Late"}')
    assert row(derived)["replayid"] == ""
    assert row(event(extensions={"causeid": "c", "replayid": "r"}))["replayid"] == "r"


def test_other_attributes_are_kept_as_json() -> None:
    tagged = event(extensions={"causeid": "c", "region": "eu", "hops": 3, "vip": True})
    assert row(tagged)["extensions"] == '{"hops":3,"region":"eu","vip":true}'


@pytest.mark.parametrize("data", [b'"5"', b"5", b"1.50", b'{"a" : [1,  2]}', b"[]", b"null", b'"\\u00e9\\n"', b"1e999"])
def test_data_is_kept_byte_for_byte(data: bytes) -> None:
    body = b'[{"id":"1","source":"/s","type":"t","specversion":"1.0","data":%s}]' % data
    values = dict(zip(EVENT_COLUMNS, event_columns(decode_batch(body), lambda: NOW), strict=True))
    assert values["data"] == [data]


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2013-01-01T05:15:00-05:00", 1_357_035_300_000_000),
        ("2013-01-01T10:15:00.123456Z", 1_357_035_300_123_456),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1900-01-01T00:00:00Z", -2_208_988_800_000_000),
        ("2299-12-31T23:59:59.999999Z", 10_413_791_999_999_999),
    ],
)
def test_times_that_clickhouse_holds_are_numbers(text: str, micros: int) -> None:
    assert (row(event(time=text))["time"], row(event(time=text))["timetext"]) == (micros, "")


@pytest.mark.parametrize("text", ["1899-12-31T23:59:59Z", "9999-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "soon"])
def test_other_times_keep_their_text(text: str) -> None:
    assert (row(event(time=text))["time"], row(event(time=text))["timetext"]) == (None, text)


@pytest.mark.parametrize("text", [None, "", "soon", "9999-01-01T00:00:00Z"])
def test_an_event_without_a_time_of_receipt_is_received_now(text: str | None) -> None:
    assert row(event(receivedtime=text))["receivedtime"] == int(NOW.timestamp()) * 1_000_000


def test_what_is_no_batch_is_refused() -> None:
    with pytest.raises(MalformedBody):
        decode_batch(b"[{")
    with pytest.raises(InvalidInput):
        decode_batch(b'[{"id":1}]')


def test_every_wrong_usage_record_is_named() -> None:
    def record(data: bytes, type: str = USAGE_TYPE) -> Event:
        return Event(id="1", source="/s", type=type, data=msgspec.Raw(data))

    good = record(b'{"kind":"dropped"}')
    wrong = [
        record(b'{"kind":1}'),
        record(b"[]"),
        record(b""),
        record(b'{"kind":"x","usagein":-1}'),
        record(b"{}", "t"),
    ]
    with pytest.raises(InvalidInput) as caught:
        usage_records([good, *wrong], lambda: NOW)
    assert [problem.field for problem in caught.value.fields] == [f"events[{index}]" for index in range(1, 6)]


def test_a_usage_record_accrues_when_its_event_was_received() -> None:
    body = msgspec.Raw(b'{"kind":"failed","stage":"event-engine","subject_source":"/s","subject_id":"7","usagein":9}')
    record = Event(id="r", source="/x", type=USAGE_TYPE, tenantid="acme", data=body)
    record.receivedtime = "2026-11-01T00:00:00.000001Z"
    (read,) = usage_records([record], lambda: NOW)
    assert (read.tenant, read.id, read.kind, read.subject_id, read.usagein) == ("acme", "r", "failed", "7", 9)
    assert read.received == int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 1_000_000 + 1
