"""The syntax tree of GRL. Every node carries the offset of its first character in the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = [
    "Assign",
    "Binary",
    "Call",
    "Const",
    "Index",
    "Member",
    "Method",
    "Node",
    "Not",
    "Root",
    "Rule",
    "Statement",
    "children",
    "walk",
]


@dataclass(frozen=True, slots=True)
class Const:
    value: Any
    """An `Int64`, float, str, bool or the NIL failure."""
    at: int


@dataclass(frozen=True, slots=True)
class Root:
    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Member:
    base: Node
    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Index:
    base: Node
    index: Node
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    args: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Method:
    base: Node
    name: str
    args: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Not:
    operand: Node
    at: int


@dataclass(frozen=True, slots=True)
class Binary:
    op: str
    left: Node
    right: Node
    at: int


Node: TypeAlias = Const | Root | Member | Index | Call | Method | Not | Binary


@dataclass(frozen=True, slots=True)
class Assign:
    target: Root | Member | Index
    op: str
    """`=`, `+=`, `-=`, `*=` or `/=`."""
    value: Node
    at: int


Statement: TypeAlias = Assign | Node


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    description: str
    salience: int
    when: Node
    then: tuple[Statement, ...]
    at: int
    resource: str = ""
    """Name of the text that defines the rule."""


def children(node: Statement) -> tuple[Node, ...]:
    match node:
        case Member(base=base):
            return (base,)
        case Index(base=base, index=index):
            return (base, index)
        case Call(args=args):
            return args
        case Method(base=base, args=args):
            return (base, *args)
        case Not(operand=operand):
            return (operand,)
        case Binary(left=left, right=right):
            return (left, right)
        case Assign(target=target, value=value):
            return (target, value)
    return ()


def walk(node: Statement) -> list[Statement]:
    """The node and everything below it, parents first."""
    found: list[Statement] = [node]
    for item in found:
        found.extend(children(item))
    return found
