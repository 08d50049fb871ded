"""Which functions that a core module imports or exports have vectors of 128 bits among their values.

The engine's C interface ends the process when it is asked for the type of such a function, so it must not be asked.
"""

from __future__ import annotations

from typing import Final, TypeVar

from eventrunner.wasm.cursor import Cursor, Malformed
from eventrunner.wasm.externs import module_import
from eventrunner.wasm.sections import read_sections

__all__ = ["vector_functions"]

_TYPES, _IMPORTS, _FUNCTIONS, _EXPORTS = 1, 2, 3, 7
_FUNCTION_TYPE: Final = 0x60
_VECTOR: Final = 0x7B
_FUNCTION: Final = 0x00
_T = TypeVar("_T")


def vector_functions(code: bytes) -> list[str]:
    """Their names. Raises Malformed."""
    cursors = {section.identifier: section.cursor(code) for section in read_sections(code)}
    sections = {which: cursors.get(which, Cursor(b"\0")) for which in (_TYPES, _IMPORTS, _FUNCTIONS, _EXPORTS)}
    types = sections[_TYPES]
    vectors = [_has_vector(types) for _ in range(types.count())]
    imports = sections[_IMPORTS]
    imported = [found for _ in range(imports.count()) if (found := _imported_function(code, imports))]
    own = sections[_FUNCTIONS]
    functions = [*(kind for _, kind in imported), *(own.unsigned() for _ in range(own.count()))]
    exports = sections[_EXPORTS]
    exported = [found for _ in range(exports.count()) if (found := _exported_function(exports))]
    named = [*imported, *((name, _at(functions, index)) for name, index in exported)]
    return [name for name, kind in named if _at(vectors, kind)]


def _has_vector(types: Cursor) -> bool:
    if types.byte() != _FUNCTION_TYPE:
        raise types.fail("a type that is none of a function")
    # A list each, as both are to be read.
    values = [[types.byte() for _ in range(types.count())] for _ in ("parameters", "results")]
    return any(_VECTOR in part for part in values)


def _imported_function(code: bytes, imports: Cursor) -> tuple[str, int] | None:
    """Its name and the index of its type; None: it is no function."""
    again = Cursor(code, imports.at)
    name, member = module_import(imports)
    again.text()
    again.text()
    return (f"{name}.{member}", again.unsigned()) if again.byte() == _FUNCTION else None


def _exported_function(exports: Cursor) -> tuple[str, int] | None:
    name, kind, index = exports.text(), exports.byte(), exports.unsigned()
    return (name, index) if kind == _FUNCTION else None


def _at(items: list[_T], index: int) -> _T:
    if index >= len(items):
        raise Malformed(f"{index} is none of {len(items)}")
    return items[index]
