"""Transform and route: what a tenant's `routes` make of an event on its way to the processing queue.

    routes:
      - name: orders
        when: {type: "shop.order.*", source: "/shop/*"}    # patterns of fnmatch; all must match
        set: {type: "order.{type}", dataschema: "https://example.com/order.json", region: eu}
      - name: noise
        when: {type: "shop.ping"}
        discard: true

The first route that matches counts. A tenant without routes gets every event; one with routes gets those that match
some route, and the others are unroutable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Any

import msgspec

from eventrunner.errors import FieldError, InvalidInput
from eventrunner.events.event import CONTENT_ATTRIBUTES, CORE_ATTRIBUTES, Event
from eventrunner.events.validation import check_event, extension_name_problem

__all__ = ["Route", "apply", "choose", "parse_routes"]

_PLACEHOLDER = re.compile(r"\{([a-z0-9]+)\}")
_IMMUTABLE = ("id", "source", "specversion", "tenantid", "receivedtime")


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    when: dict[str, str] = {}
    """Attribute → pattern; an attribute that the event lacks does not match."""
    set: dict[str, str] = {}
    """Attribute → template, in which `{name}` stands for an attribute's value before the change."""
    discard: bool = False


def parse_routes(documents: Sequence[Mapping[str, Any]]) -> tuple[Route, ...]:
    """Reads a tenant's routes. Raises InvalidInput that names every wrong one."""
    routes: list[Route] = []
    problems: list[FieldError] = []
    for index, document in enumerate(documents):
        try:
            route = msgspec.convert(document, Route)
        except msgspec.ValidationError as error:
            problems.append(FieldError(f"routes[{index}]", str(error)))
            continue
        fixed = [name for name in route.set if name in _IMMUTABLE or _is_reserved(name)]
        problems += [FieldError(f"routes[{index}].set.{name}", "this attribute cannot be changed") for name in fixed]
        routes.append(route)
    if problems:
        raise InvalidInput("Some routes cannot be read.", tuple(problems))
    return tuple(routes)


def _is_reserved(name: str) -> bool:
    return name not in CORE_ATTRIBUTES and extension_name_problem(name) is not None


def choose(event: Event, routes: Sequence[Route]) -> Route:
    """The first route that matches. Raises InvalidInput when none does."""
    for route in routes:
        if all(_matches(event, name, pattern) for name, pattern in route.when.items()):
            return route
    raise InvalidInput(
        f"No route of the tenant matches type {event.type!r}, source {event.source!r}.",
        (FieldError("type", "no route matches"),),
    )


def apply(event: Event, route: Route) -> Event:
    """Sets the route's attributes and `route`, in place. Raises InvalidInput when the result is no valid event."""
    values = {name: _fill(template, event) for name, template in route.set.items()}
    original = None if values.keys().isdisjoint(CONTENT_ATTRIBUTES) else event.original_digest()
    for name, value in values.items():
        if name in CORE_ATTRIBUTES:
            setattr(event, name, value)
        else:
            event.set_extension(name, value)
    event.set_extension("route", route.name)
    check_event(event)
    if original is not None:
        event.set_extension("originaldigest", original)
    return event


def _value(event: Event, name: str) -> str | None:
    value = getattr(event, name, None) if name in CORE_ATTRIBUTES else (event.extensions or {}).get(name)
    return None if value is None else str(value)


def _matches(event: Event, name: str, pattern: str) -> bool:
    value = _value(event, name)
    return value is not None and _pattern(pattern).match(value) is not None


@lru_cache(4096)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))


def _fill(template: str, event: Event) -> str:
    return _PLACEHOLDER.sub(lambda match: _value(event, match[1]) or "", template)
