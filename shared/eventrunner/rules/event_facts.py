"""The facts of rules on events: `Event`, `Tenant`, `Out`, and variables that rules assign themselves."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from eventrunner.rules.attributes import ALWAYS, OPTIONAL
from eventrunner.rules.emitter import Code, Constants, Function
from eventrunner.rules.nodes import Const, Index, Member, Node, Root
from eventrunner.rules.values import Failure

__all__ = ["EVENT_FACTS", "EventFacts", "constant_key", "extension", "is_data"]

EVENT_FACTS = ("Event", "Tenant", "Out")
_UNFIT = re.compile(r'[\x00-\x1f"\\]')
"""What the name of a field of a msgspec struct cannot hold."""
_WHOLE = {"Event": "ctx.snapshot()", "Tenant": "dict(ctx.tenant)", "Out": "ctx.own_out()"}
"""Facts as values of their own; `Event` and `Tenant` are copies."""


def extension(event: Any, name: str, missing: Failure) -> Any:
    extensions = event.extensions
    return extensions.get(name, missing) if extensions else missing


class EventFacts:
    """Reads the event's attributes from the event itself and the top level of its data from a view: a struct of
    exactly the fields that rules read, which msgspec decodes without building the rest."""

    def __init__(self, constants: Constants) -> None:
        self.constants = constants
        self.fields: dict[str, str] = {}
        """Field of the data → attribute of the view."""
        self.complete = False
        """All conditions are generated: fields that only actions read do not enter the view."""

    def view_type(self) -> type[msgspec.Struct]:
        fields = [(slot, Any, Failure(f"there is no field {name}")) for name, slot in self.fields.items()]
        names = {slot: name for name, slot in self.fields.items()}
        return msgspec.defstruct("View", fields, rename=names, gc=False)

    def field(self, name: str) -> str:
        return self.fields.setdefault(name, f"f{len(self.fields)}")

    def read(self, node: Root | Member | Index, function: Function) -> Code | None:
        if isinstance(node, Root):
            return None
        name = constant_key(node)
        if name is None:
            return None
        match node.base:
            case Root(name="Event"):
                return self._attribute(name, function)
            case Root(name="Tenant" | "Out" as fact):
                local = fact.lower()
                function.needs.add(local)
                missing = self.constants.failure(f"{fact} has no field {name}")
                return Code(f"{local}.get({self.constants.name(name)}, {missing})", depth=1)
        if is_data(node.base):
            return self._data_field(name, function)
        return None

    def _data_field(self, name: str, function: Function) -> Code:
        if (self.complete and name not in self.fields) or _UNFIT.search(name):
            function.needs.add("ctx")
            key = self.constants.name(name)
            return Code(f"member(ctx.data(), {key}, {self.constants.failure(f'there is no field {name}')})", depth=2)
        function.needs.add("s")
        return Code(f"s.{self.field(name)}")

    def _attribute(self, name: str, function: Function) -> Code:
        if name == "data":
            function.needs.add("ctx")
            return Code("ctx.data()", depth=1)
        function.needs.add("event")
        if name in ALWAYS:
            return Code(f"event.{name}")
        missing = self.constants.failure(f"the event has no attribute {name}")
        if name in OPTIONAL:
            temporary = function.temporary()
            return Code(f"({temporary} if ({temporary} := event.{name}) is not None else {missing})", depth=2)
        return Code(f"extension(event, {self.constants.name(name)}, {missing})", depth=1)

    def root(self, name: str, function: Function) -> Code:
        function.needs.add("ctx")
        if name in _WHOLE:
            return Code(_WHOLE[name], depth=1)
        missing = self.constants.failure(f"there is no fact {name}")
        return Code(f"ctx.variables.get({self.constants.name(name)}, {missing})", depth=1)


def constant_key(node: Member | Index) -> str | None:
    """The name of a member, in either spelling; None if only evaluation knows it."""
    if isinstance(node, Member):
        return node.name
    key = node.index.value if isinstance(node.index, Const) else None
    return key if type(key) is str else None


def is_data(node: Node) -> bool:
    """`Event.data`, in either spelling."""
    if not isinstance(node, Member | Index) or not isinstance(node.base, Root):
        return False
    return node.base.name == "Event" and constant_key(node) == "data"
