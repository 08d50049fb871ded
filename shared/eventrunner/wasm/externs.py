"""Imports and exports as they stand in the sections of modules and components. What type they have is passed over."""

from __future__ import annotations

from eventrunner.wasm.cursor import Cursor

__all__ = ["component_export", "component_import", "module_export", "module_import", "module_import_kind"]

_REFERENCES = (0x63, 0x64)
"""`ref null` and `ref`, which a heap type follows."""
_HAS_MAXIMUM, _HAS_PAGE_SIZE = 0x01, 0x08


def module_import(cursor: Cursor) -> tuple[str, str]:
    name, member = cursor.text(), cursor.text()
    _module_type(cursor)
    return name, member


def module_import_kind(cursor: Cursor) -> int:
    """Passes over the import; 0x02 is a memory."""
    cursor.text()
    cursor.text()
    return _module_type(cursor)


def _module_type(cursor: Cursor) -> int:
    kind = cursor.byte()
    match kind:
        case 0x00:
            cursor.unsigned()
        case 0x01:
            _value_type(cursor)
            _limits(cursor)
        case 0x02:
            _limits(cursor)
        case 0x03:
            _value_type(cursor)
            cursor.byte()
        case 0x04:
            cursor.byte()
            cursor.unsigned()
        case other:
            raise cursor.fail(f"an import of the unknown kind {other:#04x}")
    return kind


def module_export(cursor: Cursor) -> str:
    name = cursor.text()
    if (kind := cursor.byte()) > 0x04:
        raise cursor.fail(f"an export of the unknown kind {kind:#04x}")
    cursor.unsigned()
    return name


def component_import(cursor: Cursor) -> tuple[str, str]:
    name = _component_name(cursor)
    _component_type(cursor)
    return name, ""


def component_export(cursor: Cursor) -> str:
    name = _component_name(cursor)
    # The sort, of which the core's have a second byte, then the index.
    if cursor.byte() == 0x00:
        cursor.byte()
    cursor.unsigned()
    match cursor.byte():
        case 0x00:
            pass
        case 0x01:
            _component_type(cursor)
        case other:
            raise cursor.fail(f"the unknown byte {other:#04x} for an export's type")
    return name


def _component_name(cursor: Cursor) -> str:
    form, name = cursor.byte(), cursor.text()
    match form:
        case 0x00 | 0x01:
            pass
        case 0x02:
            for _ in range(cursor.count()):
                cursor.byte()
                cursor.text()
        case other:
            raise cursor.fail(f"a name of the unknown form {other:#04x}")
    return name


def _component_type(cursor: Cursor) -> None:
    match cursor.byte():
        case 0x00:
            cursor.byte()
            cursor.unsigned()
        case 0x01 | 0x04 | 0x05:
            cursor.unsigned()
        case 0x02:
            cursor.byte()
            cursor.unsigned()
        case 0x03:
            if cursor.byte() == 0x00:
                cursor.unsigned()
        case other:
            raise cursor.fail(f"something of the unknown sort {other:#04x}")


def _value_type(cursor: Cursor) -> None:
    if cursor.byte() in _REFERENCES:
        cursor.unsigned()


def _limits(cursor: Cursor) -> None:
    flags = cursor.byte()
    cursor.unsigned()
    if flags & _HAS_MAXIMUM:
        cursor.unsigned()
    if flags & _HAS_PAGE_SIZE:
        cursor.unsigned()
