"""Reading and writing members and elements of values."""

from __future__ import annotations

from typing import Any

from eventrunner.rules.limits import MAX_ARRAY
from eventrunner.rules.values import ActionFailed, Failure, Int64, Strings, compact, kind_name

__all__ = ["element", "given", "go_element", "member", "set_element", "set_member", "usable"]


def member(base: Any, name: str, missing: Failure) -> Any:
    """`base.name`; generated code calls it when base may be anything."""
    if type(base) is dict:
        return base.get(name, missing)
    if type(base) is Failure:
        return base
    return Failure(f"{kind_name(base)} has no field {name}")


def element(base: Any, key: Any) -> Any:
    """`base[key]` within JSON facts. An index must be an integer of GRL; numbers of JSON are floats."""
    if type(base) is Strings:
        return Failure("the parts of a Split of a fact cannot be indexed")
    return go_element(base, key)


def go_element(base: Any, key: Any) -> Any:
    """`base[key]` of a value that no fact holds."""
    for side in (base, key):
        if type(side) is Failure:
            return side
    if type(base) is dict:
        if type(key) is not str:
            return Failure(f"a map is indexed by a string, not by {kind_name(key)}")
        return base.get(key, Failure(f'no key "{key}"'))
    if type(base) is list or type(base) is Strings:
        position = _position(base, key)
        return position if type(position) is Failure else base[position]
    return Failure(f"{kind_name(base)} cannot be indexed")


def _position(base: list[Any], key: Any) -> Any:
    if not isinstance(key, Int64):
        return Failure("an index must be an integer; numbers of JSON are floats")
    if not 0 <= key < len(base):
        return Failure(f"index {int(key)} of an array of {len(base)}")
    return int(key)


def given(value: Any) -> Any:
    """The value. Raises ActionFailed if it is a Failure."""
    if type(value) is Failure:
        raise ActionFailed(value.message)
    return value


def usable(value: Any) -> Any:
    """The value as it is stored. Raises ActionFailed if it is a Failure."""
    return compact(given(value))


def set_member(base: Any, name: str, value: Any) -> None:
    """`base.name = value`; a null value deletes the key. Raises ActionFailed."""
    stored = usable(value)
    if type(base) is not dict:
        raise ActionFailed(base.message if type(base) is Failure else f"{kind_name(base)} has no fields")
    if stored is None:
        base.pop(name, None)
        return
    base[name] = stored
    if len(base) > MAX_ARRAY:
        raise ActionFailed(f"a map of more than {MAX_ARRAY} keys")


def set_element(base: Any, key: Any, value: Any) -> None:
    """`base[key] = value`. Raises ActionFailed."""
    if type(key) is Failure:
        raise ActionFailed(key.message)
    if type(base) is dict and type(key) is str:
        set_member(base, key, value)
        return
    if type(base) is not list and type(base) is not Strings:
        raise ActionFailed(base.message if type(base) is Failure else f"{kind_name(base)} has no such element")
    position, stored = _position(base, key), usable(value)
    if type(position) is Failure:
        raise ActionFailed(position.message)
    if stored is None:
        raise ActionFailed("an element of an array cannot be set to null")
    if type(base) is Strings and type(stored) is not str:
        raise ActionFailed("an element of a Split must stay a string")
    base[position] = stored
