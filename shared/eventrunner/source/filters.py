"""CloudEvents filters, as in the Subscriptions API and Knative's Trigger: exact, prefix, suffix, all, any, not.

https://github.com/cloudevents/spec/blob/main/subscriptions/spec.md#324-filters
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eventrunner.errors import FieldError
from eventrunner.source.manifests import Fields

__all__ = ["All", "AnyOf", "Filter", "Match", "Not", "parse_filters"]

_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
}


@dataclass(frozen=True, slots=True)
class Match:
    """Every attribute must compare; an attribute that the event lacks does not."""

    kind: str
    attributes: tuple[tuple[str, str], ...]

    def __call__(self, event: Mapping[str, str]) -> bool:
        compare = _COMPARISONS[self.kind]
        return all(name in event and compare(event[name], value) for name, value in self.attributes)


@dataclass(frozen=True, slots=True)
class All:
    filters: tuple[Filter, ...]

    def __call__(self, event: Mapping[str, str]) -> bool:
        return all(item(event) for item in self.filters)


@dataclass(frozen=True, slots=True)
class AnyOf:
    filters: tuple[Filter, ...]

    def __call__(self, event: Mapping[str, str]) -> bool:
        return any(item(event) for item in self.filters)


@dataclass(frozen=True, slots=True)
class Not:
    filter: Filter

    def __call__(self, event: Mapping[str, str]) -> bool:
        return not self.filter(event)


Filter = Match | All | AnyOf | Not


def parse_filters(items: list[Any], path: str, errors: list[FieldError]) -> All | None:
    """The filters of a manifest, all of which must hold; None when there are none."""
    filters = tuple(_parse(item, f"{path}[{number}]", errors) for number, item in enumerate(items))
    return All(filters) if filters else None


def _parse(item: Any, path: str, errors: list[FieldError]) -> Filter:
    fields = Fields(item, path, errors)
    if not isinstance(item, Mapping) or len(item) != 1:
        fields.wrong("", f"must hold one of {', '.join(_COMPARISONS)}, all, any, not")
        return All(())
    kind = next(iter(item))
    if kind in _COMPARISONS:
        return Match(kind, _attributes(fields.take(kind), f"{path}.{kind}", errors))
    if kind in ("all", "any"):
        nested = fields.sequence(kind)
        if not nested:
            fields.wrong(kind, "must list at least one filter")
        filters = tuple(_parse(inner, f"{path}.{kind}[{number}]", errors) for number, inner in enumerate(nested))
        return All(filters) if kind == "all" else AnyOf(filters)
    if kind == "not":
        return Not(_parse(fields.take(kind), f"{path}.not", errors))
    fields.done()
    return All(())


def _attributes(value: Any, path: str, errors: list[FieldError]) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping) or not value:
        errors.append(FieldError(path, "must map attributes to strings"))
        return ()
    for name, text in value.items():
        if not isinstance(text, str) or not text:
            errors.append(FieldError(f"{path}.{name}", f"must be a non-empty string, not {text!r}"))
    return tuple((str(name), str(text)) for name, text in value.items())
