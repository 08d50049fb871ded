"""Firings and time by rule in this process, as Prometheus counters. Tenants cannot make any number of series."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["RuleNumbers", "rule_numbers"]

_RULES = 100
"""Rules of an owner that have labels of their own; further ones are `other`."""
_SERIES = 2_000
"""Rules of a process that have."""
_OTHER = "other"
_LONGEST = 80
_MANY = 4_096


class RuleNumbers:
    """Of one owner's rules, whatever version is in force. Safe to share between threads."""

    def __init__(self, room: _Room) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._pending: list[tuple[str, ...]] = []
        self._firings: defaultdict[str, float] = defaultdict(float)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._named: set[str] = set()
        self.note = self._pending.append
        """Takes the rules that fired on an event; they are counted later, many at once, as that is cheaper."""

    def settle(self) -> None:
        """To be called now and then, else what is noted piles up."""
        if len(self._pending) >= _MANY:
            self._count()

    def spend(self, seconds: Mapping[str, float]) -> None:
        with self._lock:
            # The dearest first, as names may run out.
            for rule in sorted(seconds, key=seconds.__getitem__, reverse=True):
                self._seconds[self._name(rule)] += seconds[rule]

    def keep(self, rules: Iterable[str]) -> None:
        """Ends the series of other rules."""
        kept = {rule[:_LONGEST] for rule in rules}
        self._count()
        with self._lock:
            gone = self._named - kept
            self._named -= gone
            self._room.free(len(gone))
            for name in gone:
                self._firings.pop(name, None)
                self._seconds.pop(name, None)

    def totals(self) -> Iterator[tuple[str, float, float]]:
        """Rule, firings, seconds."""
        self._count()
        with self._lock:
            names = sorted({*self._firings, *self._seconds})
            found = [(name, self._firings[name], self._seconds[name]) for name in names]
        yield from found

    def _count(self) -> None:
        with self._lock:
            # Others append meanwhile, behind these.
            number = len(self._pending)
            counted = Counter(chain.from_iterable(self._pending[:number]))
            del self._pending[:number]
            for rule, count in counted.items():
                self._firings[self._name(rule)] += count

    def _name(self, rule: str) -> str:
        name = rule[:_LONGEST]
        if name in self._named:
            return name
        if len(self._named) >= _RULES or not self._room.take():
            return _OTHER
        self._named.add(name)
        return name


class _Room:
    """For series, that all owners share."""

    def __init__(self, series: int) -> None:
        self._left = series
        self._lock = threading.Lock()

    def take(self) -> bool:
        with self._lock:
            if not self._left:
                return False
            self._left -= 1
            return True

    def free(self, number: int) -> None:
        with self._lock:
            self._left += number


class _Numbers(Collector):
    """Owners that have no rule with labels of its own are shown as one, `other`."""

    def __init__(self) -> None:
        self._room = _Room(_SERIES)
        self._lock = threading.Lock()
        self._owners: dict[str, RuleNumbers] = {}

    def of(self, owner: str) -> RuleNumbers:
        with self._lock:
            if owner not in self._owners:
                self._owners[owner] = RuleNumbers(self._room)
            return self._owners[owner]

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            owners = list(self._owners.items())
        firings: defaultdict[tuple[str, str], float] = defaultdict(float)
        seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        for owner, numbers in owners:
            rows = list(numbers.totals())
            shown = owner if any(name != _OTHER for name, _, _ in rows) else _OTHER
            for name, count, time in rows:
                firings[shown, name] += count
                seconds[shown, name] += time
        labels = ["tenant", "rule"]
        for name, text, values in (
            ("eventrunner_rule_firings", "Firings by rule.", firings),
            ("eventrunner_rule_seconds", "Time by rule, estimated from samples.", seconds),
        ):
            family = CounterMetricFamily(name, text, labels=labels)
            for key, value in values.items():
                family.add_metric(key, value)
            yield family


_numbers = _Numbers()
REGISTRY.register(_numbers)


def rule_numbers(owner: str) -> RuleNumbers:
    """The same object for the same owner."""
    return _numbers.of(owner)
