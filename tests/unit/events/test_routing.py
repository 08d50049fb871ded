from __future__ import annotations

import pytest
from eventrunner.errors import InvalidInput
from eventrunner.events import Event
from eventrunner.events.routing import apply, choose, parse_routes


def _event(**values: str) -> Event:
    return Event(**{"id": "1", "source": "/shop/a", "type": "order.paid", **values})


def test_the_first_route_that_matches_counts() -> None:
    routes = parse_routes(
        [
            {"name": "a", "when": {"type": "x.*"}},
            {"name": "b", "when": {"type": "order.*", "source": "/shop/*"}},
            {"name": "c"},
        ]
    )
    assert choose(_event(), routes).name == "b"
    assert choose(_event(source="/else"), routes).name == "c"


def test_an_event_that_no_route_matches_is_unroutable() -> None:
    with pytest.raises(InvalidInput, match="No route"):
        choose(_event(), parse_routes([{"name": "a", "when": {"subject": "*"}}]))


def test_a_route_sets_attributes_from_the_values_before() -> None:
    (route,) = parse_routes([{"name": "a", "set": {"type": "v2.{type}", "subject": "{type}", "region": "eu"}}])
    original = _event().original_digest()
    event = apply(_event(), route)
    assert (event.type, event.subject) == ("v2.order.paid", "order.paid")
    assert event.extensions == {"region": "eu", "route": "a", "originaldigest": original}


@pytest.mark.parametrize("name", ["causeid", "originaldigest", "usagein", "Bad Name"])
def test_a_route_cannot_write_what_is_reserved(name: str) -> None:
    with pytest.raises(InvalidInput):
        parse_routes([{"name": "a", "set": {name: "x"}}])


def test_a_route_cannot_change_what_makes_the_event_itself() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_routes([{"name": "a", "set": {"id": "x", "tenantid": "other", "causeid": "x"}}, {"when": {}}])
    assert [problem.field for problem in caught.value.fields] == [
        "routes[0].set.id",
        "routes[0].set.tenantid",
        "routes[0].set.causeid",
        "routes[1]",
    ]


def test_a_route_that_makes_an_invalid_event_is_an_error() -> None:
    (route,) = parse_routes([{"name": "a", "set": {"dataschema": "not absolute"}}])
    with pytest.raises(InvalidInput, match="dataschema"):
        apply(_event(), route)
