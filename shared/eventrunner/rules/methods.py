"""Methods of values: `F.s.Len()`, `F.list.Append(1)`, `Now().Year()`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

from eventrunner.rules import gotime
from eventrunner.rules.budget import LARGE, check
from eventrunner.rules.limits import MAX_ARRAY, MAX_STRING
from eventrunner.rules.values import Failure, GoInt, Strings, kind_name, real

__all__ = ["DERIVED", "HELD", "METHOD_NAMES", "OWN", "call_method", "matches", "string_signature"]

# Go's unicode.IsSpace; Python's strip() also takes the separators U+001C to U+001F.
_SPACE = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _byte_index(text: str, position: int) -> GoInt:
    return GoInt(position if position < 0 or text.isascii() else len(_bytes(text[:position])))


def _to_upper(text: str) -> str:
    """Rune by rune, as Go does: of letters that would become several, some have a title case of one, the rest stay."""
    if text.isascii():
        return text.upper()
    forms = ((rune.upper(), rune.title(), rune) for rune in text)
    return "".join(next(form for form in options if len(form) == 1) for options in forms)


def _to_lower(text: str) -> str:
    # U+0130 is the one rune that would become two.
    return text.lower() if text.isascii() else "".join("i" if rune == "\u0130" else rune.lower() for rune in text)


def _count(text: str, part: str) -> GoInt:
    return GoInt(text.count(part))


def _split(text: str, separator: str) -> Strings | Failure:
    if (text.count(separator) if separator else len(text)) > MAX_ARRAY:
        return Failure(f"an array of more than {MAX_ARRAY} elements")
    return Strings(text.split(separator) if separator else list(text))


def _replace(text: str, old: str, new: str) -> str | Failure:
    if len(text) + text.count(old) * (len(new) - len(old)) > MAX_STRING:
        return Failure(f"a string of more than {MAX_STRING} characters")
    return text.replace(old, new)


def _repeat(text: str, times: Any) -> str | Failure:
    number = real(times)
    if not -1e18 < number < 1e18 or number <= -1:
        return Failure("a string cannot be repeated so often")
    if len(text) * int(number) > MAX_STRING:
        return Failure(f"a string of more than {MAX_STRING} characters")
    return text * int(number)


_ESCAPE = re.compile(r"\\Q.*?(?:\\E|\Z)|\\(.)", re.DOTALL)


_MAX_PATTERN = 10_000
"""Characters."""
_MAX_SEARCH = 1 << 27
"""Instructions of the program times characters of the text: RE2 takes 2 ns for each at the worst."""


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    """An RE2 program, or None if RE2 refuses the pattern."""
    # Loaded by the first rule that uses MatchString: other rule sets do without the library.
    import re2

    # Go's RE2 has no \C, a byte of a character.
    if "\\C" in pattern and any(found[1] == "C" for found in _ESCAPE.finditer(pattern)):
        return None
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except (re2.error, ValueError):
        return None


def matches(text: str, pattern: str) -> bool | Failure:
    program = _compiled(pattern) if len(pattern) <= _MAX_PATTERN else None
    if program is None:
        return Failure(f"{pattern[:100]!r} is not a regular expression that RE2 accepts")
    if program.programsize * len(text) > _MAX_SEARCH:
        return Failure("the text is too long for so large a regular expression")
    return program.search(text) is not None


_STRING: dict[str, tuple[int, Callable[..., Any]]] = {
    "Len": (0, lambda text: GoInt(len(text) if text.isascii() else len(_bytes(text)))),
    "ToUpper": (0, _to_upper),
    "ToLower": (0, _to_lower),
    "Trim": (0, lambda text: text.strip(_SPACE)),
    "Contains": (1, lambda text, part: part in text),
    "HasPrefix": (1, str.startswith),
    "HasSuffix": (1, str.endswith),
    "Index": (1, lambda text, part: _byte_index(text, text.find(part))),
    "LastIndex": (1, lambda text, part: _byte_index(text, text.rfind(part))),
    "Count": (1, _count),
    "Compare": (1, lambda text, other: GoInt((text > other) - (text < other))),
    "Replace": (2, _replace),
    "Split": (1, _split),
    "MatchString": (1, matches),
}


def string_signature(name: str) -> str | None:
    """Of a method of strings, a letter for each argument: `s` string, `n` number, `x*` any. None if there is none."""
    if name in _STRING:
        return "s" * _STRING[name][0]
    return {"In": "x*", "Repeat": "n"}.get(name)


METHOD_NAMES = frozenset(_STRING) | {"In", "Repeat", "Append"} | gotime.METHODS.keys()


OWN, DERIVED, HELD = range(3)
"""Origins of values: made by rules, made by a method from a part of a fact, part of a fact."""


def call_method(base: Any, name: str, origin: int, *args: Any) -> Any:
    """`base.name(args)`. Grule gives times that a fact holds no methods, and only facts' strings a growing Split."""
    for item in (base, *args):
        if type(item) is Failure:
            return item
    if len(args) > LARGE or (isinstance(base, str | list) and len(base) > LARGE):
        check()
    if type(base) is str:
        return _string_method(base, name, args)
    if type(base) is list or type(base) is Strings:
        return _array_method(base, name, origin, args)
    if type(base) is dict and name == "Len":
        return GoInt(len(base)) if not args else Failure("Len takes no argument")
    if type(base) is datetime and origin != HELD:
        return gotime.call(base, name, args)
    return Failure(f"{kind_name(base)} has no method {name}")


def _string_method(text: str, name: str, args: tuple[Any, ...]) -> Any:
    if name == "In":
        return _in(text, args)
    if name == "Repeat":
        is_number = len(args) == 1 and type(args[0]) is not bool and isinstance(args[0], float | int)
        return _repeat(text, args[0]) if is_number else Failure("Repeat takes one number")
    entry = _STRING.get(name)
    if entry is None:
        return Failure(f"a string has no method {name}")
    count, method = entry
    if len(args) != count or any(type(item) is not str for item in args):
        return Failure(f"{name} takes {count or 'no'} string argument{'' if count == 1 else 's'}")
    return method(text, *args)


def _in(text: str, args: tuple[Any, ...]) -> bool | Failure:
    for item in args:
        if type(item) is not str:
            return Failure("In takes strings")
        if item == text:
            return True
    return False


def _array_method(base: list[Any], name: str, origin: int, args: tuple[Any, ...]) -> Any:
    if name == "Len":
        return GoInt(len(base)) if not args else Failure("Len takes no argument")
    if name != "Append":
        return Failure(f"an array has no method {name} here")
    if type(base) is Strings and origin == OWN:
        # Grule appends to what nobody sees any more.
        return None
    if len(base) + len(args) > MAX_ARRAY:
        return Failure(f"an array of more than {MAX_ARRAY} elements")
    if type(base) is Strings:
        fits = all(type(item) is str for item in args)
        return Strings([*base, *args]) if fits else Failure("only strings can be appended to the result of Split")
    if any(item is None for item in args):
        return Failure("null cannot be appended")
    return [*base, *args]
