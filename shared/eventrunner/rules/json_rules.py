"""Grule's JSON rule format, translated to GRL text exactly as Grule does it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from eventrunner.rules.errors import ProblemKind, RuleSyntaxError
from eventrunner.rules.goformat import quote, sprint
from eventrunner.rules.source import Source
from eventrunner.rules.values import UNREADABLE, real

__all__ = ["as_grl", "json_to_grl"]

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
_BLANK = re.compile(r"[\s,]*")


class _Wrong(Exception):
    pass


def json_to_grl(text: str | bytes, name: str = "rules.json") -> str:
    """One rule object or an array of them as GRL. Raises RuleSyntaxError."""
    source = Source(text if isinstance(text, str) else text.decode(errors="replace"), name)
    try:
        document = msgspec.json.decode(text)
    except UNREADABLE as error:
        raise _refused(source, _place_of(error, source.text), str(error)) from None
    if not isinstance(document, list):
        return _located(document, source, None)
    return "".join(_located(rule, source, index) for index, rule in enumerate(document))


def as_grl(name: str) -> str:
    """How the GRL that JSON rules become is called where problems name it: its lines are not those of the JSON."""
    return f"{name} (as GRL)"


def _located(rule: Any, source: Source, index: int | None) -> str:
    try:
        return _rule(rule)
    except (_Wrong, RecursionError) as error:
        name = rule.get("name") if isinstance(rule, dict) else None
        who = f"rule {name}: " if isinstance(name, str) and name else "" if index is None else f"rule {index + 1}: "
        place = 0 if index is None else _start_of(index, source.text)
        raise _refused(source, place, f"{who}{error if isinstance(error, _Wrong) else 'nested too deep'}") from None


def _refused(source: Source, at: int, message: str) -> RuleSyntaxError:
    return RuleSyntaxError.of([source.problem(at, message, kind=ProblemKind.JSON_RULE)])


def _place_of(error: Exception, text: str) -> int:
    """Offset of what cannot be read."""
    found = re.search(r"\(byte (\d+)\)", str(error))
    if found:
        return len(text.encode(errors="replace")[: int(found[1])].decode(errors="replace"))
    return len(text) if "truncated" in str(error) else 0


def _start_of(index: int, text: str) -> int:
    """Offset of an element of the array."""
    decoder, at = json.JSONDecoder(), text.index("[") + 1
    try:
        for _ in range(index):
            at = decoder.raw_decode(text, _BLANK.match(text, at).end())[1]  # type: ignore[union-attr]
    except (ValueError, RecursionError):
        return 0
    return _BLANK.match(text, at).end()  # type: ignore[union-attr]


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
