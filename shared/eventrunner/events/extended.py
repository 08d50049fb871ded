"""Decoding of batches whose events carry extension attributes.

A struct has fixed fields and attribute names are free, so an event with an extension attribute has to go through a
dict, at ten times the cost. But producers and rules use the same few names again and again: those that have been met
become optional fields of a struct, their values are moved to `extensions`, and only a batch with a new name goes the
long way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from eventrunner.events.event import Event

__all__ = ["ExtendedDecoder"]

_MOST_NAMES = 32
"""Beyond these the oldest are forgotten: each costs every event 0.04 µs, and tenants choose them."""
_NEW_NAMES = 8
"""A batch with more new ones teaches nothing: it would only displace what others use."""
_Extension = str | int | bool | None


class _Learned(NamedTuple):
    fields: tuple[tuple[str, str], ...]
    """Field of the struct and name of the attribute."""
    values: Callable[[Event], tuple[Any, ...]]
    decoder: Any


class ExtendedDecoder:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: tuple[str, ...] = ()
        self._learned: _Learned | None = None

    def decode(self, body: bytes | memoryview) -> list[Event] | None:
        """The events of a JSON batch. None when one has a name that is not known yet, or is wrong in some way."""
        learned = self._learned
        if learned is None:
            return None
        fields, values_of, decoder = learned
        try:
            events: list[Event] = decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        nothing = (None,) * (len(fields) + 1)
        for event, values in zip(events, map(values_of, events), strict=True):
            if values == nothing:
                continue
            for (field, name), value in zip(fields, values, strict=False):
                if value is not None:
                    event.set_extension(name, value)
                    setattr(event, field, None)
        return events

    def learn(self, events: Iterable[Event]) -> None:
        """Takes in the names of events that were decoded the long way."""
        met = {name for event in events if event.extensions for name in event.extensions}
        with self._lock:
            new = met.difference(self._names)
            if not new or len(new) > _NEW_NAMES:
                return
            self._names = (*self._names, *sorted(new))[-_MOST_NAMES:]
            self._learned = _decoder_for(self._names)


def _decoder_for(names: tuple[str, ...]) -> _Learned:
    # Field names of our own, because an attribute may be called like a method or a keyword.
    fields = {f"x{number}": name for number, name in enumerate(sorted(names))}
    struct = msgspec.defstruct(
        "ExtendedEvent",
        [(field, _Extension, msgspec.field(default=None, name=name)) for field, name in fields.items()],
        bases=(Event,),
        kw_only=True,
        gc=False,
        eq=False,
    )
    # With one field more, because a getter of a single one gives no tuple.
    values_of = attrgetter(*fields, "extensions")
    return _Learned(tuple(fields.items()), values_of, msgspec.json.Decoder(list[struct]))  # type: ignore[valid-type]
