"""The types of a component's functions, as text in the manner of WIT, to compare them.

A host function has no type of its own: the bindings convert to whatever type the guest has declared, and a value that
does not fit is an exception in Python, at a place where it may reach another thread.
"""

from __future__ import annotations

from typing import Final

from wasmtime import component

__all__ = ["MESSAGE", "signature"]

MESSAGE: Final = "record{subject: string, body: list<u8>, reply-to: option<string>}"
_PRIMITIVES: Final = {
    component.Bool: "bool",
    component.U8: "u8",
    component.U16: "u16",
    component.U32: "u32",
    component.U64: "u64",
    component.String: "string",
}
_MOST_DEPTH: Final = 4
_MOST_MEMBERS: Final = 16
"""A type of some hundred bytes can have millions of members of members; no interface here has as many."""


def signature(function: component.FuncType) -> str:
    """Such as `(string, u32) -> result<_, string>`. Resources have no names: they are `own` and `borrow`.

    Raises TypeError for what the bindings do not know.
    """
    values = ", ".join(_text(kind) for _, kind in function.params[: _MOST_MEMBERS + 1])
    result = function.result
    return f"({values})" if result is None else f"({values}) -> {_text(result)}"


def _text(kind: component.ValType | None, depth: int = 0) -> str:
    deeper = depth + 1
    if kind is None:
        return "_"
    if depth > _MOST_DEPTH:
        return "…"
    match kind:
        case component.ListType():
            return f"list<{_text(kind.element, deeper)}>"
        case component.OptionType():
            return f"option<{_text(kind.payload, deeper)}>"
        case component.ResultType():
            return f"result<{_text(kind.ok, deeper)}, {_text(kind.err, deeper)}>"
        case component.RecordType():
            fields = (f"{name}: {_text(field, deeper)}" for name, field in kind.fields[: _MOST_MEMBERS + 1])
            return f"record{{{', '.join(fields)}}}"
        case component.TupleType():
            return f"tuple<{', '.join(_text(element, deeper) for element in kind.elements[: _MOST_MEMBERS + 1])}>"
        case component.EnumType():
            names = (kind.name(index) or "" for index in range(min(kind.names_count, _MOST_MEMBERS + 1)))
            return f"enum{{{', '.join(names)}}}"
        case component.OwnType():
            return "own"
        case component.BorrowType():
            return "borrow"
    return _PRIMITIVES.get(type(kind), type(kind).__name__)
