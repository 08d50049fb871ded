"""Reads from a WebAssembly binary what it is and which imports and exports it has; everything else is passed over.

It runs nothing and validates nothing else: that is for the engine which compiles the code.
https://webassembly.github.io/spec/core/binary/modules.html
https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, TypeVar

from eventrunner.errors import FieldError, InvalidInput
from eventrunner.wasm.cursor import Cursor, Malformed
from eventrunner.wasm.externs import component_export, component_import, module_export, module_import
from eventrunner.wasm.sections import PREAMBLE, read_sections

__all__ = ["Import", "Kind", "Module", "NotWebAssembly", "read_kind", "read_module"]

_MAGIC: Final = b"\0asm"
_MODULE: Final = (1, 0)
_COMPONENT: Final = (13, 1)
"""Version and layer of the preamble."""
_MOST_NAMES: Final = 1_000
"""Imports and exports; the policy is asked about each, and all of them stand in the consumer's record."""
_MOST_NAME_CHARACTERS: Final = 64 * 1024
"""Of all of them."""
T = TypeVar("T")


class _Sections(NamedTuple):
    imports: int
    exports: int


_MODULE_SECTIONS: Final = _Sections(2, 7)
_COMPONENT_SECTIONS: Final = _Sections(10, 11)


class Kind(StrEnum):
    MODULE = "module"
    """A core module."""
    COMPONENT = "component"


@dataclass(eq=False)
class NotWebAssembly(InvalidInput):
    code = "not-webassembly"


@dataclass(frozen=True, slots=True)
class Import:
    name: str
    """Of a component: the interface with its version, such as `wasi:random/random@0.2.0`; of a module: the module."""
    member: str = ""
    """What a module imports of the other one."""

    def __str__(self) -> str:
        return f"{self.name}.{self.member}" if self.member else self.name


@dataclass(frozen=True, slots=True)
class Module:
    kind: Kind
    imports: tuple[Import, ...]
    exports: tuple[str, ...]


def read_module(code: bytes) -> Module:
    """Raises NotWebAssembly that says what was found instead."""
    kind = read_kind(code)
    imports: list[Import] = []
    exports: list[str] = []
    ids = _COMPONENT_SECTIONS if kind is Kind.COMPONENT else _MODULE_SECTIONS
    read_import, read_export = (
        (component_import, component_export) if kind is Kind.COMPONENT else (module_import, module_export)
    )
    try:
        for section in read_sections(code):
            room = _MOST_NAMES - len(imports) - len(exports)
            if section.identifier == ids.imports:
                imports += [Import(*pair) for pair in _vector(section.cursor(code), read_import, room)]
            elif section.identifier == ids.exports:
                exports += _vector(section.cursor(code), read_export, room)
        _check_length(imports, exports)
    except Malformed as error:
        raise _refusal(f"is no WebAssembly {kind} that can be read: {error}") from error
    return Module(kind, tuple(imports), tuple(exports))


def read_kind(code: bytes) -> Kind:
    """By the preamble alone. Raises NotWebAssembly that says what was found instead."""
    if code[:4] != _MAGIC:
        found = f"begins with {code[:8].hex(' ')}" if code else "is empty"
        raise _refusal(f"{found}; a WebAssembly module or component begins with {_MAGIC.hex(' ')}")
    version, layer = int.from_bytes(code[4:6], "little"), int.from_bytes(code[6:8], "little")
    if len(code) < PREAMBLE:
        raise _refusal(f"ends within its preamble of {PREAMBLE} bytes")
    if (version, layer) == _MODULE:
        return Kind.MODULE
    if (version, layer) == _COMPONENT:
        return Kind.COMPONENT
    raise _refusal(
        f"has version {version} and layer {layer}; modules have {_MODULE[0]} and {_MODULE[1]}, components "
        f"{_COMPONENT[0]} and {_COMPONENT[1]}"
    )


def _refusal(message: str) -> NotWebAssembly:
    return NotWebAssembly(f"The body {message}.", (FieldError("body", message),))


def _check_length(imports: list[Import], exports: list[str]) -> None:
    """Raises Malformed."""
    length = sum(len(item.name) + len(item.member) for item in imports) + sum(map(len, exports))
    if length > _MOST_NAME_CHARACTERS:
        raise Malformed(
            f"the names of its imports and exports have {length} characters; at most {_MOST_NAME_CHARACTERS} are read"
        )


def _vector(section: Cursor, read: Callable[[Cursor], T], room: int) -> list[T]:
    if (count := section.count()) > room:
        raise Malformed(f"it has more than {_MOST_NAMES} imports and exports")
    items = [read(section) for _ in range(count)]
    if not section.is_done:
        raise Malformed("a section is longer than what it holds")
    return items
