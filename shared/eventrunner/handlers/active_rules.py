"""The rule sets in force, compiled when an event needs them after a change."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from eventrunner.errors import InvalidInput
from eventrunner.handlers.rule_meter import RuleMeter
from eventrunner.rules import RuleSet, combine, compile_rules
from eventrunner.storage.records import RuleSet as RuleSetRecord

__all__ = ["ActiveRules", "ActiveSet", "compile_together"]

_log = logging.getLogger(__name__)

_Texts = tuple[tuple[str, str], ...]
"""Name and text of each set in force."""


@dataclass(slots=True)
class ActiveSet:
    """All that is in force of one owner, as one rule set."""

    rules: RuleSet
    meter: RuleMeter


@dataclass(slots=True)
class _Snapshot:
    records: Mapping[str, bytes]
    by_owner: dict[str, list[bytes]] = field(default_factory=dict)
    ready: dict[str, ActiveSet | None] = field(default_factory=dict)


class ActiveRules:
    """Safe to share between threads. What is wrong with one owner's sets concerns nobody else: sets that do not compile
    are left out, and only who needs a set waits while it is compiled."""

    def __init__(self, records: Callable[[], Mapping[str, bytes]]) -> None:
        """`records` returns the same object until something changes: `<owner>.<name>` → record."""
        self._records = records
        self._snapshot = _Snapshot({})
        self._compiled: dict[str, tuple[_Texts, ActiveSet | None]] = {}
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def get(self, owner: str) -> ActiveSet | None:
        """None when nothing is in force."""
        snapshot, records = self._snapshot, self._records()
        if snapshot.records is not records:
            snapshot = self._snapshot = _group(records)
        if owner in snapshot.ready:
            return snapshot.ready[owner]
        if owner not in snapshot.by_owner:
            self._compiled.pop(owner, None)
            return None
        with self._lock:
            lock = self._locks.setdefault(owner, threading.Lock())
        with lock:
            if owner not in snapshot.ready:
                snapshot.ready[owner] = self._load(owner, _texts(owner, snapshot.by_owner[owner]))
            return snapshot.ready[owner]

    def _load(self, owner: str, texts: _Texts) -> ActiveSet | None:
        known = self._compiled.get(owner)
        if known is not None and known[0] == texts:
            return known[1]
        rules = compile_together(owner, texts)
        made = ActiveSet(rules, RuleMeter(owner, rules)) if rules is not None and rules.names else None
        self._compiled[owner] = (texts, made)
        return made


def _group(records: Mapping[str, bytes]) -> _Snapshot:
    snapshot = _Snapshot(records)
    for key in sorted(records):
        snapshot.by_owner.setdefault(key.partition(".")[0], []).append(records[key])
    return snapshot


def _texts(owner: str, records: Sequence[bytes]) -> _Texts:
    found = []
    for value in records:
        try:
            record = RuleSetRecord.from_json(value)
        except InvalidInput:
            _log.exception("a rule set of %s cannot be read and is left out", owner)
            continue
        if record.in_force is not None:
            found.append((record.name, record.in_force.text))
    return tuple(found)


def compile_together(owner: str, texts: Sequence[tuple[str, str]]) -> RuleSet | None:
    """Sets, name and text of each, as one, without those that do not compile or do not go with those before them."""
    sets = [rules for name, text in texts if (rules := _compile_one(owner, name, text)) is not None]
    if len(sets) < 2:
        return sets[0] if sets else None
    try:
        return combine(sets)
    except InvalidInput as error:
        _log.warning("rule sets of %s do not go together; the later ones are left out: %s", owner, error)
    good = sets[0]
    for rules in sets[1:]:
        with contextlib.suppress(InvalidInput):
            good = combine([good, rules])
    return good


def _compile_one(owner: str, name: str, text: str) -> RuleSet | None:
    try:
        return compile_rules(text, name=name)
    except Exception:
        # Not only InvalidInput: the API compiles before it stores, so this is a set that an older version accepted, or
        # a fault of the compiler's, which must not stop the events of anybody.
        _log.exception("rule set %s of %s does not compile and is left out", name, owner)
        return None
