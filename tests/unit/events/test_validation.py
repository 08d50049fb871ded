from __future__ import annotations

import msgspec
import pytest
from eventrunner.events import Event, validate
from hypothesis import given

from tests.strategies import events


def _event(**values: object) -> Event:
    return Event(**{"id": "1", "source": "/s", "type": "t", **values})  # type: ignore[arg-type]


@given(events())
def test_valid_events_have_no_problems(event: Event) -> None:
    assert validate(event) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("specversion", "0.3"),
        ("id", ""),
        ("id", "a\nb"),
        ("source", ""),
        ("source", "not a uri"),
        ("source", "/%zz"),
        ("type", ""),
        ("type", "eventrunner.usage"),
        ("subject", ""),
        ("time", "yesterday"),
        ("time", "2026-01-01"),
        ("time", "2026-01-01T00:00:00"),
        ("time", "2026-13-01T00:00:00Z"),
        ("datacontenttype", "json"),
        ("dataschema", "/relative"),
    ],
)
def test_a_wrong_attribute_is_named(name: str, value: str) -> None:
    assert [problem.field for problem in validate(_event(**{name: value}))] == [name]


@pytest.mark.parametrize("name", ["Upper", "with-dash", "", "knativeerrorcode", "usagecpu2", "causeid", "replayid"])
def test_a_wrong_or_reserved_extension_name_is_refused(name: str) -> None:
    assert [problem.field for problem in validate(_event(extensions={name: "x"}))] == [name]


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, "a\x00b"])
def test_a_wrong_extension_value_is_refused(value: object) -> None:
    assert [problem.field for problem in validate(_event(extensions={"x": value}))] == ["x"]


@pytest.mark.parametrize("time", ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.123456+05:30", "2026-01-31t12:00:00.5z"])
def test_rfc_3339_times_are_accepted(time: str) -> None:
    assert validate(_event(time=time)) == []


def test_data_and_data_base64_exclude_each_other() -> None:
    event = _event(data=msgspec.Raw(b"1"), data_base64="AA==")
    assert [problem.field for problem in validate(event)] == ["data_base64"]


@pytest.mark.parametrize("text", ["!!", "AAE", "AA=A", "AA==\n", "A A="])
def test_data_base64_must_be_base64(text: str) -> None:
    assert [problem.field for problem in validate(_event(data_base64=text))] == ["data_base64"]
