"""`then` blocks as the lines of a Python function over the execution's context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eventrunner.rules.attributes import name_problem, text_problem
from eventrunner.rules.context import LONG
from eventrunner.rules.emitter import Code, Constants, Function
from eventrunner.rules.event_facts import EventFacts, is_data
from eventrunner.rules.expressions import Expressions, Facts
from eventrunner.rules.functions import CONTROL, CONTROL_METHODS
from eventrunner.rules.limits import MAX_ARRAY
from eventrunner.rules.nodes import Assign, Binary, Call, Const, Index, Member, Node, Root, Statement
from eventrunner.rules.values import Failure, compact

__all__ = ["Actions"]

_CALLS = {name: (method, len(CONTROL[name])) for name, method in CONTROL_METHODS.items()}
_EVENT_CALLS = {"Emit": ("emit", 1), "Drop": ("drop", 1), "Tag": ("tag", 2), "RouteTo": ("route_to", 1)}


class Actions:
    def __init__(
        self, constants: Constants, facts: Facts, function: Function, bits: Mapping[str, int], rule: str
    ) -> None:
        self.constants, self.facts, self.function, self.bits, self.rule = constants, facts, function, bits, rule
        self.expressions = Expressions(constants, facts, function, may_act=True)

    def statement(self, node: Statement) -> None:
        if isinstance(node, Assign):
            self._assign(node)
        elif not (isinstance(node, Call) and self._control(node)):
            self.function.lines.append(f"given({self.expressions.value(node).text})")

    def _control(self, call: Call) -> bool:
        if call.name == "Complete" and not call.args:
            self.function.lines.append("ctx.complete = True")
            return True
        if call.name == "Retract" and len(call.args) == 1 and self._retract_known(call.args[0]):
            return True
        calls = {**_CALLS, **_EVENT_CALLS} if isinstance(self.facts, EventFacts) else _CALLS
        method, count = calls.get(call.name, ("", 0))
        if method == "tag" and self._tag_constant(call.args):
            return True
        if not method or len(call.args) != count:
            return False
        arguments = ", ".join(self.expressions.value(argument).text for argument in call.args)
        if method == "emit":
            # The event's `Out` is a new one afterwards.
            self.function.lines += [f"ctx.emit({arguments}, {self.constants.name(self.rule)})", "out = ctx.out"]
        else:
            self.function.lines.append(f"ctx.{method}({arguments})")
        return True

    def _retract_known(self, argument: Node) -> bool:
        if not isinstance(argument, Const) or type(argument.value) is not str:
            return False
        bit = self.bits.get(argument.value, 0)
        if bit:
            self.function.lines.append(f"ctx.retracted |= {self.constants.name(bit)}")
        return True

    def _tag_constant(self, arguments: Sequence[Node]) -> bool:
        """`Tag("key", "value");` in short; False for anything else, and for what cannot be a tag."""
        texts = [node.value for node in arguments if isinstance(node, Const) and type(node.value) is str]
        if len(texts) != len(arguments) or len(texts) != 2 or name_problem(texts[0]) or text_problem(*texts):
            return False
        name, value = map(self.constants.name, texts)
        self.function.lines += [
            f"if ctx.tags is None: ctx.tags = {{{name}: {value}}}",
            f"else: ctx.tags[{name}] = {value}",
        ]
        return True

    def _assign(self, node: Assign) -> None:
        if isinstance(self.facts, EventFacts) and self._assign_constant(node, self.facts):
            return
        value = self._new_value(node)
        if isinstance(self.facts, EventFacts) and self._assign_event(node.target, value):
            return
        match node.target:
            case Root(name=name):
                self.function.lines.append(f"ctx.set_variable({self.constants.name(name)}, {value.text})")
            case Member(base=base, name=name):
                key = self.constants.name(name)
                self.function.lines.append(f"ctx.set_member({self.expressions.value(base).text}, {key}, {value.text})")
            case Index(base=base, index=index):
                target, key = self.expressions.value(base).text, self.expressions.value(index).text
                self.function.lines.append(f"ctx.set_element({target}, {key}, {value.text})")

    def _assign_constant(self, node: Assign, facts: EventFacts) -> bool:
        """`Event.data.x = 1;` in short, where the data is decoded; False for anything else."""
        target, value = node.target, node.value
        if node.op != "=" or isinstance(target, Root) or not is_data(target.base) or not isinstance(value, Const):
            return False
        key = _key(target)
        if key is None or type(value.value) is Failure or (type(value.value) is str and len(value.value) > LONG):
            return False
        name, stored, held = self.constants.name(key), self.constants.name(compact(value.value)), "ctx.document"
        slot = facts.fields.get(key)
        self.function.lines += [
            f"if type({held}) is dict and len({held}) < {MAX_ARRAY}:",
            f"    {held}[{name}] = {stored}",
            *([f"    ctx.view.{slot} = {stored}"] if slot else []),
            "    ctx.data_changed = True",
            f"else: ctx.set_data_field({name}, {stored})",
        ]
        return True

    def _new_value(self, node: Assign) -> Code:
        if node.op == "=":
            return self.expressions.value(node.value)
        return self.expressions.value(Binary(node.op[0], node.target, node.value, node.at))

    def _assign_event(self, target: Root | Member | Index, value: Code) -> bool:
        """Assignments below `Event`; False for any other target."""
        if isinstance(target, Root) or not _below_event(target):
            return False
        key = _key(target)
        if is_data(target):
            self.function.lines.append(f"ctx.set_data({value.text})")
        elif isinstance(target.base, Root):
            name = self.constants.name(key) if key is not None else "None"
            # The first attribute that is set replaces the event by a copy.
            self.function.lines += [f"ctx.set_attribute({name}, {value.text})", "event = ctx.event"]
        elif is_data(target.base) and key is not None:
            self.function.lines.append(f"ctx.set_data_field({self.constants.name(key)}, {value.text})")
        else:
            # The value is computed first; then the base is read from the decoded document, not from the view.
            held = self.function.temporary()
            self.function.lines += [f"{held} = {value.text}", "ctx.touch()"]
            self._store(target, held)
        return True

    def _store(self, target: Member | Index, held: str) -> None:
        base = self.expressions.value(target.base).text
        if isinstance(target, Member):
            self.function.lines.append(f"ctx.set_member({base}, {self.constants.name(target.name)}, {held})")
        else:
            key = self.expressions.value(target.index).text
            self.function.lines.append(f"ctx.set_element({base}, {key}, {held})")


def _below_event(node: Node) -> bool:
    while isinstance(node, Member | Index):
        node = node.base
    return isinstance(node, Root) and node.name == "Event"


def _key(node: Member | Index) -> str | None:
    if isinstance(node, Member):
        return node.name
    return node.index.value if isinstance(node.index, Const) and type(node.index.value) is str else None
