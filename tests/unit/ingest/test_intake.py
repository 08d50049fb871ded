from __future__ import annotations

import json
from dataclasses import replace
from itertools import count

import pytest
from eventrunner.errors import BodyTooLarge, Forbidden, InvalidInput, MalformedBody, UnsupportedMedia
from eventrunner.events.envelopes import RAW_TYPE
from eventrunner.ingest.intake import Intake, Request, read_request

_TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-00"
_RECEIVED = "2026-01-01T00:00:00.000000Z"


def _request(body: bytes, content_type: str = "application/x-ndjson") -> Request:
    numbers = count(1)
    return Request(
        headers={"content-type": content_type},
        query={},
        body=body,
        tenant="acme",
        is_admin=False,
        tenant_exists=lambda tenant: tenant in ("acme", "other"),
        received=_RECEIVED,
        traceparent=_TRACE,
        max_event_bytes=1000,
        make_id=lambda: f"made-{next(numbers)}",
    )


def _event(id: str = "1", **attributes: object) -> dict[str, object]:
    return {"specversion": "1.0", "id": id, "source": "/s", "type": "t", **attributes}


def _lines(*documents: object) -> bytes:
    return b"\n".join(json.dumps(document).encode() for document in documents)


def _ids(intake: Intake, tenant: str = "acme") -> list[str]:
    return [event.id for event in intake.accepted.get(tenant, [])]


def test_what_only_ingest_knows_is_written_over_what_was_sent() -> None:
    line = _lines(_event(receivedtime="1999-01-01T00:00:00Z", usagein=5, usagerules=9, tenantid="acme"))
    (event,) = read_request(_request(line)).accepted["acme"]
    assert (event.tenantid, event.receivedtime, event.traceparent) == ("acme", _RECEIVED, _TRACE)
    assert (event.usagein, event.usagerules) == (len(line), 0)


@pytest.mark.parametrize("sent", ["", "x\ny", "00-" + "0" * 32 + "-" + "b" * 16 + "-00"])
def test_what_is_no_traceparent_gives_way_to_the_requests(sent: str) -> None:
    (event,) = read_request(_request(_lines(_event(traceparent=sent)))).accepted["acme"]
    assert event.traceparent == _TRACE


def test_an_events_own_traceparent_is_kept() -> None:
    own = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    (event,) = read_request(_request(_lines(_event(traceparent=own)))).accepted["acme"]
    assert event.traceparent == own


def test_997_of_1000_are_accepted_and_3_are_named() -> None:
    documents: list[object] = [_event(str(number)) for number in range(1000)]
    documents[10] = _event("10", time="yesterday")
    documents[500] = {"specversion": "1.0", "id": "500", "source": "/s"}
    lines = _lines(*documents).split(b"\n")
    lines[999] = b"{broken"
    intake = read_request(_request(b"\n".join(lines)))
    assert intake.count == 997
    assert [(rejection.index, rejection.id) for rejection in intake.rejected] == [(10, "10"), (500, "500"), (999, None)]
    assert "time" in intake.rejected[0].to_json()["error"]  # type: ignore[operator]


def test_blank_lines_and_carriage_returns_are_passed_over() -> None:
    assert _ids(read_request(_request(b"\r\n" + _lines(_event()) + b"\r\n \n"))) == ["1"]


def test_a_line_that_is_no_cloudevent_is_a_raw_payload() -> None:
    (event,) = read_request(_request(b'{"a": 1}')).accepted["acme"]
    assert (event.type, event.id, event.json_data) == (RAW_TYPE, "made-1", b'{"a": 1}')


def test_specversion_inside_the_data_does_not_make_a_cloudevent() -> None:
    (event,) = read_request(_request(b'{"data": {"specversion": "1.0"}}')).accepted["acme"]
    assert event.type == RAW_TYPE


def test_an_envelope_cannot_be_forged() -> None:
    intake = read_request(_request(_lines(_event(type=RAW_TYPE, rawrequest="{}"))))
    assert not intake.accepted
    assert intake.rejected[0].error.fields[0].field == "type"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["knativeerrorcode", "usagefoo"])
def test_attributes_of_the_system_cannot_be_forged(name: str) -> None:
    assert not read_request(_request(_lines(_event(**{name: "1"})))).accepted


def test_an_event_of_another_tenant_is_refused_unless_an_admin_sends_it() -> None:
    request = _request(_lines(_event("1", tenantid="other"), _event("2")))
    intake = read_request(request)
    assert (_ids(intake), _ids(intake, "other")) == (["2"], [])
    assert isinstance(intake.rejected[0].error, Forbidden)
    assert _ids(read_request(replace(request, is_admin=True)), "other") == ["1"]


def test_an_admin_cannot_send_to_a_tenant_that_does_not_exist() -> None:
    request = replace(_request(_lines(_event(tenantid="nobody"))), is_admin=True)
    assert isinstance(read_request(request).refusal(), Forbidden)


def test_an_admin_without_a_tenant_must_name_one() -> None:
    request = replace(_request(_lines(_event())), is_admin=True, tenant="")
    assert "tenantid" in read_request(request).refusal().detail


def test_all_content_types_of_the_contract_are_read() -> None:
    one = json.dumps(_event()).encode()
    assert _ids(read_request(_request(one, "application/cloudevents+json"))) == ["1"]
    assert _ids(read_request(_request(b"[" + one + b"]", "application/cloudevents-batch+json; charset=utf-8"))) == ["1"]
    assert _ids(read_request(_request(b'{"a":1}', "application/json"))) == ["made-1"]
    assert _ids(read_request(_request(b"[1, 2]", "application/json"))) == ["made-1", "made-2"]
    form = read_request(_request(b"a=1&b=x%20y&a=2", "application/x-www-form-urlencoded"))
    assert form.accepted["acme"][0].decoded_data() == {"a": ["1", "2"], "b": "x y"}
    binary = replace(
        _request(b"\xff\x00", "image/png"),
        headers={"content-type": "image/png", "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"},
    )
    assert read_request(binary).accepted["acme"][0].payload() == b"\xff\x00"


def test_a_github_webhook_sent_as_a_form_holds_its_json() -> None:
    body = b"payload=%7B%22a%22%3A1%7D"
    headers = {"content-type": "application/x-www-form-urlencoded", "x-github-event": "push"}
    (event,) = read_request(replace(_request(body), headers=headers)).accepted["acme"]
    assert event.json_data == b'{"a":1}'


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/cloudevents+json"),
        (b"{}", "application/cloudevents-batch+json"),
        (b'["\xff"]', "application/cloudevents-batch+json"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "application/json"),
        (b"a=%zz&=;", "application/x-www-form-urlencoded"),
        (b'{"a": NaN}', "application/json"),
    ],
)
def test_a_body_that_cannot_be_read_is_malformed(body: bytes, content_type: str) -> None:
    request = replace(_request(body, content_type), max_event_bytes=1_000_000)
    with pytest.raises(MalformedBody):
        raise read_request(request).refusal()


def test_an_unknown_content_type_says_what_can_be_sent() -> None:
    with pytest.raises(UnsupportedMedia, match="x-ndjson"):
        read_request(_request(b"<a/>", "text/xml"))


def test_an_event_over_the_limit_is_refused_alone() -> None:
    intake = read_request(_request(_lines(_event("1"), _event("2", data="x" * 2000))))
    assert _ids(intake) == ["1"]
    assert isinstance(intake.rejected[0].error, BodyTooLarge)
    assert isinstance(read_request(_request(_lines(_event("2", data="x" * 2000)))).refusal(), BodyTooLarge)


def test_a_line_that_is_not_utf8_is_rejected_alone() -> None:
    broken = _lines(_event("2", data="X")).replace(b'"X"', b'"\xff"')
    intake = read_request(_request(_lines(_event("1")) + b"\n" + broken))
    assert _ids(intake) == ["1"]
    assert "UTF-8" in intake.rejected[0].error.detail


def test_an_empty_body_holds_no_event() -> None:
    assert isinstance(read_request(_request(b"")).refusal(), MalformedBody)


def test_several_bad_events_are_refused_together_with_their_places() -> None:
    error = read_request(_request(_lines(_event("1", time="x"), _event("2", source="")))).refusal()
    assert isinstance(error, InvalidInput)
    assert [problem.field for problem in error.fields] == ["[0]", "[1]"]


def test_the_last_of_duplicate_keys_counts_everywhere() -> None:
    (event,) = read_request(_request(b'{"specversion":"1.0","id":"1","source":"/s","type":"a","type":"b"}')).accepted[
        "acme"
    ]
    assert event.type == "b"
