"""What one execution of a rule set changes and produces. Generated actions call the methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec

from eventrunner.rules.access import given, set_element, set_member, usable
from eventrunner.rules.attributes import ATTRIBUTES, attribute_value, check_text, name_problem
from eventrunner.rules.budget import check
from eventrunner.rules.functions import FUNCTIONS_FACT
from eventrunner.rules.golayout import format_value
from eventrunner.rules.limits import MAX_STRING, Limits
from eventrunner.rules.values import UNREADABLE, ActionFailed, Failure, encode, kind_name, measure

__all__ = ["LONG", "NOTHING", "Context", "Emitted", "EventContext", "Program"]

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""What executions that made nothing of a kind share; every event has one, so no container is made in vain."""

_ALL = -1
_UNREAD = Failure("not decoded")
LONG = 256
"""Characters of a string that make it worth measuring what is encoded."""
_MAX_LOGS = 1_000
_MAX_EMITTED = 1_000
_MAX_EMITTED_BYTES = 8 << 20
_decode = msgspec.json.Decoder().decode


class Emitted(msgspec.Struct, frozen=True):
    """An event that a rule derived."""

    type: str
    data: bytes
    """JSON of what `Out` held."""
    rule: str
    position: int
    """Counts the rule's derived events of this execution from 0; with the cause and the rule it gives the id."""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled rule set, as far as executions need it. Rules are numbered by salience, then by definition."""

    names: tuple[str, ...]
    bits: Mapping[str, int]
    """Name of each rule → its bit."""
    conditions: tuple[Callable[[Any], Any], ...]
    actions: tuple[Callable[[Any], None], ...]
    dirties: tuple[int, ...]
    """For each rule the mask of the conditions that its firing may change."""
    limits: Limits
    clock: Callable[[], datetime]
    slots: Mapping[str, str] = field(default_factory=dict)
    """Field of the event's data → its name in the view."""
    view_type: Any = None
    decode: Any = None
    masks: tuple[int, ...] = ()
    """The bit of each rule."""
    plans: tuple[Any, ...] = ()
    """For each rule the `Plan` of what to evaluate after its firing; the last one is for when anything has changed."""


class Context(msgspec.Struct):
    """State of an execution that every kind of rule set has."""

    program: Program
    variables: Mapping[str, Any] = NOTHING
    retracted: int = 0
    dirty: int = 0
    """Rules to evaluate again beyond what static analysis says; -1 for all."""
    shared: bool = False
    """An object hangs in two places, so a write through one path may be read through another."""
    large: bool = False
    """Something was stored that makes it worth measuring what is encoded."""
    complete: bool = False
    logs: list[str] | None = None
    logged: int = 0
    """Characters."""
    moment: datetime | None = None

    def now(self) -> datetime:
        """One moment for the whole execution, as Grule evaluates `Now()` of a condition once."""
        if self.moment is None:
            self.moment = self.program.clock()
        return self.moment

    def retract(self, name: Any) -> None:
        self.retracted |= self.program.bits.get(_text("Retract", name), 0)

    def end(self) -> None:
        self.complete = True

    def changed(self, name: Any) -> None:
        _text("Changed", name)
        self.dirty = _ALL

    def log(self, text: Any) -> None:
        line = _text("Log", text)
        if self.logs is None:
            self.logs = []
        self.logged += len(line)
        if len(self.logs) < _MAX_LOGS and self.logged <= MAX_STRING:
            self.logs.append(line)

    def log_format(self, layout: Any, value: Any) -> None:
        if given(value) is None:
            raise ActionFailed("LogFormat of null")
        check()
        self.log(format_value(_text("LogFormat", layout), value))

    def set_member(self, base: Any, name: str, value: Any) -> None:
        set_member(base, name, value)
        self._note(value)

    def set_element(self, base: Any, key: Any, value: Any) -> None:
        set_element(base, key, value)
        self._note(value)

    def set_variable(self, name: str, value: Any) -> None:
        """Top-level assignment; Grule keeps scalars and times there and turns the rest into null."""
        stored = usable(value)
        if stored is None:
            raise ActionFailed(f"null cannot be assigned to {name}")
        if name == FUNCTIONS_FACT:
            raise ActionFailed(f"{name} cannot be assigned to")
        if type(self.variables) is not dict:
            self.variables = {}
        self.variables[name] = None if isinstance(stored, list | dict) else stored

    def _note(self, value: Any) -> None:
        if type(value) is dict or type(value) is list:
            self.shared = self.large = True
        elif type(value) is str and len(value) > LONG:
            self.large = True

    def encode(self, value: Any) -> bytes:
        """JSON bytes. Raises ActionFailed if the value holds itself, or other values so often that it is too large."""
        if self.large:
            measure(value)
        return encode(value)


class _Attributes:
    """A changeable copy of an event's attributes."""

    def __init__(self, event: Any) -> None:
        for name in ATTRIBUTES:
            setattr(self, name, getattr(event, name, None))
        self.extensions = dict(event.extensions or {})
        self.data = event.data


class EventContext(Context):
    event: Any = None
    tenant: Mapping[str, Any] = {}
    view: Any = None
    """The fields of the data that conditions read; kept in step with `document`."""
    document: Any = _UNREAD
    data_changed: bool = False
    attributes: dict[str, Any] | None = None
    out: Mapping[str, Any] = NOTHING
    emitted: list[Emitted] | None = None
    emitted_bytes: int = 0
    tags: dict[str, str] | None = None
    dropped: str | None = None
    route: str | None = None

    def load(self) -> Any:
        """The view of the data, decoded on first use."""
        if self.view is None:
            try:
                self.view = self.program.decode(self.event.data)
            except UNREADABLE:
                self.view = self.program.view_type()
        return self.view

    def data(self) -> Any:
        """All of the data. It shares its maps and arrays with the view."""
        if self.document is _UNREAD:
            try:
                self.document = _decode(self.event.data)
            except UNREADABLE:
                self.document = Failure("the event has no JSON data")
            if self.view is None:
                self._fill_view()
            elif type(self.document) is dict:
                self._adopt_view()
        return self.document

    def _adopt_view(self) -> None:
        for name, slot in self.program.slots.items():
            value = getattr(self.view, slot)
            if type(value) is dict or type(value) is list:
                self.document[name] = value

    def _fill_view(self) -> None:
        fresh = self.program.view_type()
        if self.view is None:
            self.view = fresh
        document = self.document if type(self.document) is dict else {}
        for name, slot in self.program.slots.items():
            setattr(self.view, slot, document.get(name, getattr(fresh, slot)))

    def touch(self) -> None:
        self.data()
        self.data_changed = True

    def set_data_field(self, name: str, value: Any) -> None:
        """`Event.data.name = value`."""
        document = self.data()
        set_member(document, name, value)
        self.data_changed = True
        self._note(value)
        slot = self.program.slots.get(name)
        if slot is not None:
            setattr(self.view, slot, getattr(self.program.view_type(), slot) if value is None else document[name])

    def set_data(self, value: Any) -> None:
        stored = usable(value)
        self.data()
        self.document = Failure("the event has no data") if stored is None else stored
        self.data_changed = True
        self._note(value)
        self._fill_view()

    def set_attribute(self, name: str, value: Any) -> None:
        stored = attribute_value(name, usable(value))
        if not isinstance(self.event, _Attributes):
            self.event = _Attributes(self.event)
        if name in ATTRIBUTES:
            setattr(self.event, name, stored)
        elif stored is None:
            self.event.extensions.pop(name, None)
        else:
            self.event.extensions[name] = stored
        if self.attributes is None:
            self.attributes = {}
        self.attributes[name] = stored

    def own_out(self) -> Mapping[str, Any]:
        """`Out` to write into; made by the first action that uses it."""
        if self.out is NOTHING:
            self.out = {}
        return self.out

    def snapshot(self) -> dict[str, Any]:
        """The event as one map: a copy, but for the data."""
        values = {name: getattr(self.event, name, None) for name in ATTRIBUTES}
        data = self.data()
        known = {**values, **(self.event.extensions or {}), "data": None if type(data) is Failure else data}
        return {name: value for name, value in known.items() if value is not None}

    def emit(self, kind: Any, rule: str) -> None:
        name = _text("Emit", kind)
        check_text("type", name)
        if self.emitted is None:
            self.emitted = []
        if len(self.emitted) >= _MAX_EMITTED:
            raise ActionFailed(f"more than {_MAX_EMITTED} derived events of one event")
        position = sum([item.rule == rule for item in self.emitted])
        check()
        data = b"{}" if self.out is NOTHING else self.encode(self.out)
        self.emitted_bytes += len(data)
        if self.emitted_bytes > _MAX_EMITTED_BYTES:
            raise ActionFailed(f"more than {_MAX_EMITTED_BYTES} bytes of derived events of one event")
        self.emitted.append(Emitted(name, data, rule, position))
        self.out = {}

    def drop(self, reason: Any) -> None:
        text = _text("Drop", reason)
        check_text("reason", text)
        self.dropped = text

    def tag(self, key: Any, value: Any) -> None:
        if self.tags is None:
            self.tags = {}
        name = _text("Tag", key)
        if problem := name_problem(name):
            raise ActionFailed(f"{name!r} cannot be a tag: {problem}")
        text = value if type(value) is str else _scalar_text(given(value))
        check_text(name, text)
        self.tags[name] = text

    def route_to(self, name: Any) -> None:
        route = _text("RouteTo", name)
        check_text("route", route)
        self.route = route


def _text(function: str, value: Any) -> str:
    if type(given(value)) is not str:
        raise ActionFailed(f"{function} takes a string, not {kind_name(value)}")
    return str(value)


def _scalar_text(value: Any) -> str:
    if isinstance(value, list | dict) or value is None:
        raise ActionFailed(f"a tag cannot be {kind_name(value)}")
    return encode(value).decode().strip('"')
