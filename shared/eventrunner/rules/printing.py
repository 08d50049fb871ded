"""Syntax trees as GRL text again: one line, with blanks around operators and no more parentheses than needed."""

from __future__ import annotations

import json
from typing import Any

from eventrunner.rules.expression_parser import PRECEDENCE
from eventrunner.rules.nodes import Assign, Binary, Call, Const, Index, Member, Method, Node, Not, Root, Statement
from eventrunner.rules.values import Failure

__all__ = ["grl_text"]


def grl_text(node: Statement) -> str:
    """Text that parses to the same tree."""
    if isinstance(node, Assign):
        return f"{grl_text(node.target)} {node.op} {grl_text(node.value)}"
    # The left spine in a loop, as chains of operators may be longer than Python's stack.
    spine: list[Binary] = []
    while isinstance(node, Binary):
        spine.append(node)
        node = node.left
    text, precedence = _operand(node), max(PRECEDENCE.values()) + 1
    for binary in reversed(spine):
        own = PRECEDENCE[binary.op]
        left = f"({text})" if precedence < own else text
        text, precedence = f"{left} {binary.op} {_right(binary.right, own)}", own
    return text


def _right(node: Node, above: int) -> str:
    """An operand on the right: operators of one level are read from left to right."""
    text = grl_text(node)
    return f"({text})" if isinstance(node, Binary) and PRECEDENCE[node.op] <= above else text


def _operand(node: Node) -> str:
    match node:
        case Const(value=value):
            return _constant(value)
        case Root(name=name):
            return name
        case Member(base=base, name=name):
            return f"{grl_text(base)}.{name}"
        case Index(base=base, index=index):
            return f"{grl_text(base)}[{grl_text(index)}]"
        case Call(name=name, args=args):
            return f"{name}({_list(args)})"
        case Method(base=base, name=name, args=args):
            return f"{grl_text(base)}.{name}({_list(args)})"
        case Not(operand=operand):
            inner = grl_text(operand)
            return f"!({inner})" if isinstance(operand, Binary) else f"!{inner}"
    raise TypeError(f"no operand: {node!r}")


def _list(nodes: tuple[Node, ...]) -> str:
    return ", ".join(map(grl_text, nodes))


def _constant(value: Any) -> str:
    if isinstance(value, Failure):
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(float(value)) if isinstance(value, float) else str(int(value))
