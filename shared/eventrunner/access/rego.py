"""One rule of a Rego policy, evaluated in process by rego-cpp as OPA evaluates it. Whatever is not `true` is no."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from eventrunner.errors import ConfigurationError

if TYPE_CHECKING:
    from regopy import Bundle, Interpreter

__all__ = ["RegoRule"]

_ALLOWED = '{"expressions":[true]}'


class RegoRule:
    """`entrypoint`: such as `eventrunner/authz/allow`. Safe to share between threads. The interpreter is made at the
    first question."""

    def __init__(self, rego: str, data: str, entrypoint: str) -> None:
        self._rego = rego
        self._data = data
        self._entrypoint = entrypoint
        self._lock = Lock()
        self._engine: tuple[Interpreter, Bundle] | None = None

    @classmethod
    def from_folder(cls, folder: Path, name: str, entrypoint: str) -> RegoRule:
        """Reads the file of that name and `data.json`. Raises ConfigurationError if they are missing."""
        try:
            return cls((folder / name).read_text(), (folder / "data.json").read_text(), entrypoint)
        except OSError as error:
            raise ConfigurationError(f"The policy cannot be read: {error}.") from error

    def evaluate(self, document: Mapping[str, Any]) -> bool:
        """Raises what the engine raises."""
        with self._lock:
            interpreter, bundle = self._loaded()
            interpreter.set_input(_faithful(document))
            output = interpreter.query_bundle_entrypoint(bundle, self._entrypoint)
            # Output.expressions() aborts the process on an undefined answer; its text is always safe to read.
            return str(output) == _ALLOWED

    def _loaded(self) -> tuple[Interpreter, Bundle]:
        if self._engine is None:
            from regopy import Interpreter, RegoError

            interpreter = Interpreter()
            try:
                interpreter.add_data(_faithful(json.loads(self._data)))
                interpreter.add_module("policy.rego", self._rego)
                self._engine = (interpreter, interpreter.build(None, [self._entrypoint]))
            except (RegoError, ValueError) as error:
                raise ConfigurationError(f"The policy cannot be loaded: {error}") from error
        return self._engine


def _faithful(value: Any) -> Any:
    """The value with every text percent-encoded, which leaves equality, parts and names in our policies as they are.

    The engine's own strings end at a NUL and lose quotes at both ends, so that "acme\\0" would pass for "acme".
    """
    match value:
        case str():
            return quote(value, safe="", errors="surrogatepass")
        case Mapping():
            return {_faithful(name): _faithful(member) for name, member in value.items()}
        case list() | tuple():
            return [_faithful(member) for member in value]
        case _:
            return value
