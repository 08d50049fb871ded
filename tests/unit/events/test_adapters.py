from __future__ import annotations

import json

import pytest
from eventrunner.errors import InvalidInput
from eventrunner.events import Event
from eventrunner.events.adapters import adapt, envelope, parse_adapters

_ORDERS = parse_adapters(
    [
        {
            "name": "orders",
            "has": ["order.id"],
            "id": "{order.id}",
            "type": "shop.order.{status}",
            "source": "/shop/{lines.0.shop}",
            "subject": "{customer}",
            "time": "{created}",
        }
    ]
)


def _raw(payload: object, query: dict[str, str] | None = None, headers: dict[str, str] | None = None) -> Event:
    body = json.dumps(payload).encode()
    return envelope(body, "application/json", id="e1", headers=headers or {}, query=query or {})


def test_declared_paths_make_the_attributes() -> None:
    payload = {"order": {"id": 7}, "status": "paid", "lines": [{"shop": "x"}], "customer": "ann", "created": 1767225600}
    event = adapt(_raw(payload), _ORDERS)
    assert (event.id, event.type, event.source, event.subject) == ("7", "shop.order.paid", "/shop/x", "ann")
    assert event.time == "2026-01-01T00:00:00.000000Z"
    assert event.decoded_data() == payload
    assert event.extensions is None


def test_a_missing_path_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"'status'"):
        adapt(_raw({"order": {"id": 7}}), _ORDERS)


def test_query_parameters_give_type_and_source() -> None:
    event = adapt(_raw({"id": "a"}, {"type": "t", "source": "/s", "subject": "x"}), ())
    assert (event.id, event.type, event.source, event.subject) == ("a", "t", "/s", "x")


def test_without_an_id_the_envelope_names_the_event() -> None:
    assert adapt(_raw([1, 2], {"type": "t", "source": "/s"}), ()).id == "e1"


def test_a_github_webhook_is_known_by_its_headers() -> None:
    payload = {"repository": {"html_url": "https://example.com/r"}, "sender": {"login": "ann"}}
    event = adapt(_raw(payload, headers={"x-github-event": "push", "x-github-delivery": "d1"}), ())
    assert (event.id, event.type, event.source) == ("d1", "com.github.push", "https://example.com/r")


def test_a_stripe_webhook_is_known_by_its_signature_which_is_not_kept() -> None:
    raw = _raw({"id": "evt_1", "type": "charge.paid", "created": 1767225600}, headers={"stripe-signature": "s3cret"})
    assert "s3cret" not in str(raw.extensions)
    event = adapt(raw, ())
    assert (event.id, event.type) == ("evt_1", "com.stripe.charge.paid")


def test_a_payload_that_no_adapter_fits_says_what_to_do() -> None:
    with pytest.raises(InvalidInput, match="declare one for the tenant"):
        adapt(_raw({"a": 1}), _ORDERS)


def test_every_wrong_adapter_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_adapters([{"name": "a"}, {"name": "b", "type": "t", "source": "/s"}, {"nme": "c"}])
    assert [problem.field for problem in caught.value.fields] == ["adapters[0]", "adapters[2]"]
