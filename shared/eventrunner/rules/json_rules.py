"""Grule's JSON rule format, translated to GRL text exactly as Grule does it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from eventrunner.rules.errors import ProblemKind, RuleSyntaxError
from eventrunner.rules.goformat import quote, sprint
from eventrunner.rules.source import Source
from eventrunner.rules.values import UNREADABLE, real

__all__ = ["json_to_grl"]

_JOINS = {
    "eq": "==",
    "not": "!=",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
    "bor": "|",
    "band": "&",
    "plus": "+",
    "minus": "-",
    "div": "/",
    "mul": "*",
    "mod": "%",
}
_MAX_DEPTH = 200


class _Wrong(Exception):
    pass


def json_to_grl(text: str | bytes, name: str = "rules.json") -> str:
    """One rule object or an array of them as GRL. Raises RuleSyntaxError."""
    try:
        document = msgspec.json.decode(text)
        rules = document if isinstance(document, list) else [document]
        return "".join(_rule(rule) for rule in rules)
    except (*UNREADABLE, _Wrong) as error:
        message = str(error) or "nested too deep"
        raise RuleSyntaxError.of([Source("", name).problem(0, message, kind=ProblemKind.JSON_RULE)]) from None


def _rule(rule: Any) -> str:
    if not isinstance(rule, dict):
        raise _Wrong("a rule must be an object")
    # Go's decoder matches the names of fields in any case.
    fields = {key.lower(): value for key, value in rule.items()}
    name, description, salience = (
        _field(fields, key, empty) for key, empty in (("name", ""), ("desc", ""), ("salience", 0))
    )
    if not name:
        raise _Wrong("a rule needs a name")
    when, then = fields.get("when"), fields.get("then")
    if when is None or then is None:
        raise _Wrong(f"rule {name} needs a when and a then")
    if not isinstance(then, list):
        raise _Wrong(f"then of rule {name} must be an array")
    actions = "".join(f"        {_action(item)}\n" for item in then)
    head = f"rule {name} {quote(description)} salience {salience} {{\n"
    return f"{head}    when\n        {_when(when)}\n    then\n{actions}}}\n"


def _field(fields: dict[str, Any], key: str, empty: Any) -> Any:
    value = fields.get(key)
    if value is None:
        return empty
    if type(value) is not type(empty) or (empty == 0 and not -(1 << 63) <= value < 1 << 63):
        raise _Wrong(f"{key} must be {'a string' if empty == '' else 'a whole number'}")
    return value


def _when(when: Any) -> str:
    if isinstance(when, str):
        return when
    if isinstance(when, dict):
        return _expression(when, 0)[0]
    raise _Wrong("when must be a string or a condition object")


def _action(item: Any) -> str:
    if isinstance(item, str):
        return item if item.endswith(";") else item + ";"
    if isinstance(item, dict):
        return _expression(item, 0)[0] + ";"
    raise _Wrong("an action must be a string or an object")


def _expression(node: dict[str, Any], depth: int) -> tuple[str, bool]:
    """The text, and whether it needs no parentheses as an operand."""
    if depth > _MAX_DEPTH:
        raise _Wrong("nested too deep")
    if len(node) != 1:
        raise _Wrong("an expression object holds exactly one operation")
    ((key, value),) = node.items()
    if key in ("and", "or"):
        return _compound(value, depth, " && " if key == "and" else " || "), False
    if key in _JOINS:
        return f" {_JOINS[key]} ".join(_operand(item) for item in _items(value, key, 1)), False
    special = _SPECIAL.get(key)
    if special is None:
        raise _Wrong(f"unknown operator {key}")
    return special(value), True


def _items(value: Any, key: str, least: int) -> list[Any]:
    if not isinstance(value, list) or len(value) < least:
        raise _Wrong(f"{key} takes an array of at least {least} operand{'s' if least > 1 else ''}")
    return value


def _compound(value: Any, depth: int, operator: str) -> str:
    parts: list[str] = []
    for item in _items(value, operator.strip(), 2):
        if not isinstance(item, dict):
            raise _Wrong(f"operands of {operator.strip()} must be objects")
        parts.append(_expression(item, depth + 1)[0])
    text = operator.join(parts)
    return f"({text})" if depth else text


def _operand(item: Any, bare: bool = False) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, bool):
        return str(item).lower()
    if isinstance(item, int | float):
        return sprint(real(item))
    if isinstance(item, dict):
        text, plain = _expression(item, 0)
        return text if plain or bare else f"({text})"
    raise _Wrong("an operand must be a string, a number, a boolean or an object")


def _set(value: Any) -> str:
    if len(_items(value, "set", 2)) != 2:
        raise _Wrong("set takes two operands")
    return f"{_operand(value[0], True)} = {_operand(value[1], True)}"


def _call(value: Any) -> str:
    function, *arguments = _items(value, "call", 1)
    if not isinstance(function, str):
        raise _Wrong("the first operand of call is the name of a function")
    if "" in arguments:
        raise _Wrong("an operand of call cannot be empty")
    return f"{function}({', '.join(_operand(item, True) for item in arguments)})"


def _object(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong("obj must be a string")
    return value


def _constant(value: Any) -> str:
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        number = real(value)
        return "-0" if str(number) == "-0.0" else f"{Decimal(repr(number)).normalize():f}"
    raise _Wrong("const must be a string, a number or a boolean")


_SPECIAL: dict[str, Callable[[Any], str]] = {"set": _set, "call": _call, "obj": _object, "const": _constant}
