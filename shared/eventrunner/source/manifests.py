"""Reads Kubernetes manifests: the documents of files and folders, and a mapping's fields with their errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from eventrunner.errors import ConfigurationError, FieldError

__all__ = ["Fields", "Manifest", "read_manifests"]

Manifest = dict[str, Any]

# libyaml is ten times as quick; the wheels of PyYAML have it, a build from source may not.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(|k|M|G|T|Ki|Mi|Gi|Ti)")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def read_manifests(paths: Iterable[Path], kinds: Iterable[str]) -> list[Manifest]:
    """The documents of these kinds in the YAML files and in the folders below them, in the order of their paths.

    Raises ConfigurationError for a path that is not there and for what is not YAML.
    """
    wanted = set(kinds)
    found: list[Manifest] = []
    for path in paths:
        if not path.exists():
            raise ConfigurationError(f"{path} does not exist.")
        files = sorted([*path.rglob("*.yaml"), *path.rglob("*.yml")]) if path.is_dir() else [path]
        for file in files:
            try:
                documents = list(yaml.load_all(file.read_text(), Loader=_Loader))
            except (yaml.YAMLError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"{file} is not YAML: {error}") from error
            found += [item for item in documents if isinstance(item, dict) and item.get("kind") in wanted]
    return found


class Fields:
    """A mapping being read: each getter takes a field, notes what is wrong with it, and returns what can be used."""

    def __init__(self, value: Any, path: str, errors: list[FieldError]) -> None:
        self.path = path
        self.errors = errors
        if value is not None and not isinstance(value, Mapping):
            self.wrong("", f"must be a mapping, not {value!r}")
            value = None
        self._left: dict[str, Any] = dict(value or {})

    def wrong(self, name: str, message: str) -> None:
        self.errors.append(FieldError(".".join(part for part in (self.path, name) if part), message))

    def take(self, name: str) -> Any:
        return self._left.pop(name, None)

    def __contains__(self, name: str) -> bool:
        return self._left.get(name) is not None

    def fields(self, name: str) -> Fields:
        return Fields(self.take(name), f"{self.path}.{name}" if self.path else name, self.errors)

    def text(self, name: str, default: str | None = None, pattern: str | None = None) -> str:
        """A non-empty string; without a default it is required."""
        value = self.take(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not value:
            self.wrong(name, "is required" if value is None else f"must be a non-empty string, not {value!r}")
        elif pattern is not None and not re.fullmatch(pattern, value):
            self.wrong(name, f"must match {pattern}, not {value!r}")
        else:
            return value
        return default or ""

    def choice(self, name: str, choices: Iterable[str], default: str) -> str:
        value = self.take(name)
        if value is None:
            return default
        if value not in (allowed := list(choices)):
            self.wrong(name, f"must be one of {', '.join(allowed)}, not {value!r}")
            return default
        return str(value)

    def integer(self, name: str, default: int, minimum: int = 0) -> int:
        value = self.take(name)
        if value is None:
            return default
        if type(value) is not int or value < minimum:
            self.wrong(name, f"must be a whole number of at least {minimum}, not {value!r}")
            return default
        return value

    def quantity(self, name: str, default: int) -> int:
        """Bytes as a number or a Kubernetes quantity such as `12M` or `1Mi`."""
        value = self.take(name)
        if value is None:
            return default
        match = _QUANTITY.fullmatch(str(value)) if type(value) in (str, int) else None
        if match is None or not float(match[1]):
            self.wrong(name, f"must be a number of bytes such as 1048576 or 1Mi, not {value!r}")
            return default
        return int(float(match[1]) * _UNITS[match[2]])

    def boolean(self, name: str, default: bool = False) -> bool:
        value = self.take(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.wrong(name, f"must be true or false, not {value!r}")
            return default
        return value

    def sequence(self, name: str) -> list[Any]:
        value = self.take(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.wrong(name, f"must be a list, not {value!r}")
            return []
        return value

    def texts(self, name: str) -> dict[str, str]:
        """A mapping of strings."""
        value = self.take(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not all(isinstance(item, str) for pair in value.items() for item in pair):
            self.wrong(name, f"must be a mapping of strings, not {value!r}")
            return {}
        return dict(value)

    def done(self) -> None:
        """Notes every field that nobody has asked for."""
        for name in self._left:
            self.wrong(name, "is not a known field")
