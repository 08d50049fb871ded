"""Expressions of GRL as Python expressions that never raise.

Each yields a value or a `Failure`. The common case, a fact's number or string against a constant, is written out
with a type test; everything else calls the helpers of `operators`, `access`, `methods` and `functions`.
"""

from __future__ import annotations

from typing import Any, Protocol

from eventrunner.rules import access, functions, methods, operators
from eventrunner.rules.emitter import Code, Constants, Function
from eventrunner.rules.nodes import Binary, Call, Const, Index, Member, Method, Node, Not, Root
from eventrunner.rules.values import Int64

__all__ = ["HELPERS", "Expressions", "Facts"]

_OPERATORS = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "%": "mod", "&": "band", "|": "bor",
    "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge",
}  # fmt: skip

HELPERS: dict[str, Any] = {
    **{_OPERATORS[op]: function for op, function in operators.ARITHMETIC.items()},
    **{_OPERATORS[op]: function for op, function in operators.COMPARISONS.items()},
    "boolean": operators.boolean,
    "and_left": operators.and_left,
    "or_left": operators.or_left,
    "negate": operators.negate,
    "member": access.member,
    "element": access.element,
    "go_element": access.go_element,
    "call_method": methods.call_method,
    "call_function": functions.call_function,
    "call_control": functions.call_control,
    "given": access.given,
    "Int64": Int64,
}

_EXACT = 1 << 53
_IS_NUMBER = "type({t} := {v}) is int or type({t}) is float or type({t}) is Int64"


class Facts(Protocol):
    """How generated code reaches the facts."""

    def read(self, node: Root | Member | Index, function: Function) -> Code | None:
        """The code for a variable that the profile knows a short way to; None for the general way."""

    def root(self, name: str, function: Function) -> Code:
        """The code for a fact as a whole."""


class Expressions:
    def __init__(self, constants: Constants, facts: Facts, function: Function, *, may_act: bool = False) -> None:
        """`may_act`: what is meant as a statement is done within an expression too, as in Grule."""
        self.constants, self.facts, self.function, self._may_act = constants, facts, function, may_act

    def value(self, node: Node) -> Code:
        """Operators are taken off the left spine in a loop, as chains of them may be longer than Python's stack."""
        spine: list[Binary] = []
        while isinstance(node, Binary):
            spine.append(node)
            node = node.left
        code = self.function.flat(self._operand(node))
        for binary in reversed(spine):
            code = self.function.flat(self._binary(binary, code))
        return code

    def _operand(self, node: Node) -> Code:
        match node:
            case Const(value=value):
                return Code(str(value), True) if type(value) is bool else Code(self.constants.name(value))
            case Not(operand=operand):
                return self._not(self.value(operand))
            case Call(name=name, args=args):
                return self._call(name, args)
            case Method(base=base, name=name, args=args):
                origin = Code(str(_origin(base)))
                return self._apply("call_method", [self.value(base), self._name(name), origin, *map(self.value, args)])
        return self._variable(node)

    def _binary(self, node: Binary, left: Code) -> Code:
        if node.op in ("&&", "||"):
            return self._logic(node.op, left, self.value(node.right))
        if node.op[0] in "=!<>":
            return self._compare(node, left)
        return self._apply(_OPERATORS[node.op], [left, self.value(node.right)])

    def _name(self, name: str) -> Code:
        return Code(self.constants.name(name))

    def _apply(self, helper: str, arguments: list[Code], boolish: bool = False) -> Code:
        depth = max((code.depth for code in arguments), default=0) + 1
        return Code(f"{helper}({', '.join(code.text for code in arguments)})", boolish, depth)

    def _call(self, name: str, args: tuple[Node, ...]) -> Code:
        if name == "Now" and not args:
            self.function.needs.add("ctx")
            return Code("ctx.now()", depth=1)
        if self._may_act and name in functions.CONTROL:
            self.function.needs.add("ctx")
            act = Code(f"ctx.{functions.CONTROL_METHODS[name]}")
            return self._apply("call_control", [act, Code(str(len(functions.CONTROL[name]))), *map(self.value, args)])
        if name in functions.CONTROL or name in functions.EVENT_CONTROL:
            return Code(self.constants.failure(f"{name} gives no value: it can only be a statement"))
        return self._apply("call_function", [self._name(name), *map(self.value, args)])

    def _variable(self, node: Node) -> Code:
        match node:
            case Root(name=name):
                return self.facts.read(node, self.function) or self.facts.root(name, self.function)
            case Member(base=base, name=name):
                missing = self.constants.failure(f"there is no field {name}")
                return self.facts.read(node, self.function) or self._member(self.value(base), name, missing)
            case Index(base=base, index=index):
                helper = "element" if in_fact(base) or isinstance(base, Root) else "go_element"
                return self.facts.read(node, self.function) or self._apply(
                    helper, [self.value(base), self.value(index)]
                )
        raise TypeError(f"no expression: {node!r}")

    def _member(self, base: Code, name: str, missing: str) -> Code:
        temporary, key = self.function.temporary(), self.constants.name(name)
        text = f"({temporary}.get({key}, {missing}) if type({temporary} := {base.text}) is dict"
        return Code(f"{text} else member({temporary}, {key}, {missing}))", depth=base.depth + 2)

    def _not(self, operand: Code) -> Code:
        temporary = self.function.temporary()
        text = f"(not {temporary} if type({temporary} := {operand.text}) is bool else negate({temporary}))"
        return Code(text, operand.boolish, operand.depth + 2)

    def _logic(self, op: str, left: Code, right: Code) -> Code:
        goes_on, helper = ("True", "and_left") if op == "&&" else ("False", "or_left")
        temporary = self.function.temporary()
        then = right.text if right.boolish else f"boolean({right.text})"
        otherwise = temporary if left.boolish else f"{helper}({temporary})"
        text = f"({then} if ({temporary} := {left.text}) is {goes_on} else {otherwise})"
        return Code(text, True, max(left.depth, right.depth) + 2)

    def _compare(self, node: Binary, left: Code) -> Code:
        right = node.right
        if is_plain_number(right):
            return self._fast(node, left, "{t} {op} {c}", right, _IS_NUMBER)
        if is_plain_number(node.left):
            return self._fast(node, self.value(right), "{c} {op} {t}", node.left, _IS_NUMBER)
        if isinstance(right, Const) and type(right.value) is str:
            return self._fast(node, left, "{t} {op} {c}", right, "type({t} := {v}) is str")
        return self._apply(_OPERATORS[node.op], [left, self.value(right)], True)

    def _fast(self, node: Binary, variable: Code, compare: str, constant: Node, guard: str) -> Code:
        """The comparison written out under a guard on the variable's type, with the helper for all other types."""
        assert isinstance(constant, Const)
        name = self.constants.name(constant.value)
        printed = name if type(constant.value) is str else repr(constant.value)
        temporary = self.function.temporary()
        condition = guard.format(t=temporary, v=variable.text)
        quick = compare.format(t=temporary, op=node.op, c=printed)
        operands = f"{temporary}, {name}" if constant is node.right else f"{name}, {temporary}"
        text = f"({quick} if {condition} else {_OPERATORS[node.op]}({operands}))"
        return Code(text, True, variable.depth + 2)

    def test(self, node: Node) -> str:
        """A Python condition that holds if and only if the expression is true; errors make it false."""
        match node:
            case Binary(op="&&"):
                return " and ".join(self.test(part) for part in conjuncts(node))
            case Binary(op="==", left=left, right=Const(value=str(value))):
                return f"{self.value(left).text} == {self.constants.name(value)}"
        code = self.value(node)
        return f"{code.text} is True"


def conjuncts(node: Node) -> list[Node]:
    """The parts of a chain of `&&`, left to right."""
    parts: list[Node] = []
    while isinstance(node, Binary) and node.op == "&&":
        parts.append(node.right)
        node = node.left
    parts.append(node)
    parts.reverse()
    return [
        item for part in parts for item in (conjuncts(part) if isinstance(part, Binary) and part.op == "&&" else [part])
    ]


def is_plain_number(node: Node) -> bool:
    """A constant for which comparing with it as float64 and exactly is the same."""
    return (
        isinstance(node, Const)
        and isinstance(node.value, int | float)
        and type(node.value) is not bool
        and (-_EXACT < node.value < _EXACT)
    )


def _origin(node: Node) -> int:
    """Where Grule has the value from that a method is called on."""
    if not in_fact(node):
        return methods.OWN
    return methods.DERIVED if isinstance(node, Method) else methods.HELD


def in_fact(node: Node) -> bool:
    """Grule holds this value as part of a JSON fact, or as made from one by a method."""
    if isinstance(node, Member | Index):
        inner = node.base
        return isinstance(inner, Root) or in_fact(inner)
    if isinstance(node, Method):
        return isinstance(node.base, Root) or in_fact(node.base)
    return isinstance(node, Not) and in_fact(node.operand)
