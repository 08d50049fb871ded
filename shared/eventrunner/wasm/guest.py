"""What a host can run: a component or a waPC module, compiled and linked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import wasmtime

from eventrunner.errors import FieldError, InvalidInput
from eventrunner.wasm.images import Images
from eventrunner.wasm.outcomes import Message

__all__ = ["Guest", "Handler", "refuse_imports"]

Handler: TypeAlias = Callable[[Message], str | None]
"""Hands one instance a message; the text of the guest's error, or None. Raises WasmtimeError or Trap on a trap."""


class Guest(Protocol):
    """Safe to share between threads; an instance of it is not."""

    @property
    def images(self) -> Images:
        """What its memories have at the start that is not in its code."""
        ...

    def instantiate(self, store: wasmtime.Store) -> Handler:
        """Runs what the guest does at its start. Raises WasmtimeError or Trap."""
        ...


def refuse_imports(forbidden: list[str], offered: str) -> None:
    """Raises InvalidInput that names them all."""
    if forbidden:
        message = f"imports what no consumer is given: {', '.join(sorted(forbidden))}; it may import {offered}"
        raise InvalidInput(f"The body {message}.", tuple(FieldError("body", f"imports {name}") for name in forbidden))
