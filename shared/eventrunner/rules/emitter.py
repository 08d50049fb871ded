"""Where generated Python is put together: constants under mangled names, temporaries, lines.

No text of a rule becomes Python text. Strings, names and failures are objects of the namespace; only numbers that
the parser has read are printed into the code.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from eventrunner.rules.values import Failure

__all__ = ["Code", "Constants", "Function"]

MAX_DEPTH = 12
"""Parentheses in one generated expression; deeper ones are computed ahead, as Python's parser has a limit."""


class Code(NamedTuple):
    text: str
    """A Python expression."""
    boolish: bool = False
    """It yields True, False or a Failure, nothing else."""
    depth: int = 0


class Constants:
    """Objects that generated code refers to by name."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self._names: dict[tuple[type[Any], Any], str] = {}

    def name(self, value: Any) -> str:
        # repr keeps 0.0 and -0.0 apart.
        key = (type(value), repr(value) if isinstance(value, float) else value)
        found = self._names.get(key)
        if found is None:
            found = self._names[key] = f"k{len(self._names)}"
            self.namespace[found] = value
        return found

    def failure(self, message: str) -> str:
        name = self.name(("failure", message))
        self.namespace[name] = Failure(message)
        return name


class Function:
    """The body of one generated function."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.needs: set[str] = set()
        """Local variables that the expressions use: `event`, `s`, `tenant`, `out`, `ctx`."""
        self._temporaries = 0

    def temporary(self) -> str:
        self._temporaries += 1
        return f"t{self._temporaries}"

    def flat(self, code: Code) -> Code:
        """The same value without deep nesting: computed by an earlier line if need be, even if it turns out not to be
        needed. Computing has no effects, but for a `Log` or the like that stands so deep."""
        if code.depth < MAX_DEPTH:
            return code
        name = self.temporary()
        self.lines.append(f"{name} = {code.text}")
        return Code(name, code.boolish)
