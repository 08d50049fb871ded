"""Counts in a binary what each instance costs and no limit of the engine holds: global variables and functions.

Instances have sixteen bytes for each variable and more for a function, which are no linear memory; setting up a million
of them a hundred times took many seconds, which no fuel is spent on and no time limit ends.
"""

from __future__ import annotations

from typing import Final

from eventrunner.errors import FieldError, InvalidInput
from eventrunner.wasm.binary import Kind, read_kind
from eventrunner.wasm.core_types import vector_functions
from eventrunner.wasm.cursor import Cursor, Malformed
from eventrunner.wasm.sections import read_sections

__all__ = ["check_parts"]

_FUNCTIONS, _GLOBALS = 3, 6
"""Sections of a module; each begins with how many there are."""
_MODULE_IN_COMPONENT, _COMPONENT_IN_COMPONENT = 1, 4
_MOST: Final = {_FUNCTIONS: 200_000, _GLOBALS: 50_000}
_NAMES: Final = {_FUNCTIONS: "functions", _GLOBALS: "global variables"}
_MOST_DEPTH: Final = 8
"""Of components in components; they are copied at each level here."""


def check_parts(code: bytes) -> None:
    """Of all modules in it. Raises InvalidInput, also for functions whose types the engine cannot tell."""
    counts = dict.fromkeys(_MOST, 0)
    try:
        _count(code, counts, 0)
        vectors = [] if read_kind(code) is Kind.COMPONENT else vector_functions(code)
    except Malformed as error:
        raise _refusal(f"does not compile: {error}") from error
    for part, most in _MOST.items():
        if counts[part] > most:
            raise _refusal(f"has {counts[part]} {_NAMES[part]}; at most {most} are run")
    if vectors:
        raise _refusal(f"imports or exports functions of vectors, which cannot be called: {', '.join(vectors)}"[:1_000])


def _count(code: bytes, counts: dict[int, int], depth: int) -> None:
    if depth > _MOST_DEPTH:
        raise Malformed(f"components are nested more than {_MOST_DEPTH} deep")
    in_component = read_kind(code) is Kind.COMPONENT
    for section in read_sections(code):
        if in_component and section.identifier in (_MODULE_IN_COMPONENT, _COMPONENT_IN_COMPONENT):
            _count(code[section.content : section.end], counts, depth + 1)
        elif not in_component and section.identifier in counts and section.end > section.content:
            counts[section.identifier] += Cursor(code, section.content, section.end).unsigned()


def _refusal(message: str) -> InvalidInput:
    return InvalidInput(f"The body {message}.", (FieldError("body", message),))
