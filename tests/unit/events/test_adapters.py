from __future__ import annotations

import json

import pytest
from eventrunner.errors import InvalidInput
from eventrunner.events import Event
from eventrunner.events.adapters import adapt, parse_adapters
from eventrunner.events.envelopes import describe_request, envelope

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
    return envelope(body, "application/json", id="e1", request=describe_request(headers or {}, query or {}))


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


def test_query_parameters_may_name_paths_of_the_payload() -> None:
    payload = {"order": {"no": 7}, "kind": "paid", "at": 1767225600}
    query = {"type": "shop.{kind}", "source": "/s", "id": "{order.no}", "time": "{at}"}
    event = adapt(_raw(payload, query), ())
    assert (event.id, event.type, event.time) == ("7", "shop.paid", "2026-01-01T00:00:00.000000Z")


def test_without_an_id_the_envelope_names_the_event() -> None:
    assert adapt(_raw([1, 2], {"type": "t", "source": "/s"}), ()).id == "e1"


def test_a_github_webhook_is_known_by_its_headers() -> None:
    payload = {"repository": {"html_url": "https://example.com/r"}, "sender": {"login": "ann"}}
    event = adapt(_raw(payload, headers={"x-github-event": "push", "x-github-delivery": "d1"}), ())
    assert (event.id, event.type, event.source) == ("d1", "com.github.push", "https://example.com/r")


@pytest.mark.parametrize(
    ("payload", "source"),
    [
        ({"organization": {"url": "https://example.com/orgs/o"}}, "https://example.com/orgs/o"),
        ({"sender": {"html_url": "https://example.com/ann"}}, "https://example.com/ann"),
    ],
)
@pytest.mark.parametrize("query", [{}, {"adapter": "github"}])
def test_a_github_webhook_need_not_be_about_a_repository(
    payload: dict[str, object], source: str, query: dict[str, str]
) -> None:
    event = adapt(_raw(payload, query, {"x-github-event": "installation", "x-github-delivery": "d1"}), ())
    assert (event.type, event.source) == ("com.github.installation", source)


def test_an_adapter_may_use_any_header_of_a_webhook() -> None:
    specs = parse_adapters([{"name": "gitlab", "type": "gitlab.{header:X-Gitlab-Event}", "source": "/gitlab"}])
    assert adapt(_raw({}, headers={"x-gitlab-event": "Push Hook"}), specs).type == "gitlab.Push Hook"


@pytest.mark.parametrize("name", ["x-gitlab-token", "x-hub-signature-256", "x-shared-secret", "x-functions-key"])
def test_of_a_header_that_is_a_secret_only_the_presence_is_kept(name: str) -> None:
    raw = _raw({}, headers={name: "s3cret"})
    assert "s3cret" not in str(raw.extensions)
    specs = parse_adapters([{"name": "a", "has": [f"header:{name}"], "type": "t", "source": "/s"}])
    assert adapt(raw, specs).type == "t"


def test_headers_that_are_no_webhooks_are_not_kept() -> None:
    headers = {"user-agent": "u", "authorization": "a", "x-forwarded-for": "f", "x-long": "l" * 300}
    assert (_raw({}, headers=headers).extensions or {})["rawrequest"] == "{}"


def test_a_payload_that_cannot_be_adapted_stays_what_it_was() -> None:
    specs = parse_adapters([{"name": "a", "id": "{id}", "type": "t", "source": "{from}"}])
    for payload in ({"id": "7"}, {"id": "7", "from": "not a uri"}):
        raw = _raw(payload, {"adapter": "a"})
        with pytest.raises(InvalidInput):
            adapt(raw, specs)
        assert raw == _raw(payload, {"adapter": "a"})


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
