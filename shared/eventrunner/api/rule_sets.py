"""Finds rule sets: those of a tenant, or the platform's own, which are an admin's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_admin, check_own
from eventrunner.errors import FieldError, InvalidInput, NotFound
from eventrunner.handlers.verdicts import tenant_facts
from eventrunner.rules import RuleSet as CompiledRules
from eventrunner.rules import compile_rules
from eventrunner.storage import records
from eventrunner.storage.records import RuleSet, RuleVersion, rule_key
from eventrunner.tenancy import PLATFORM

__all__ = ["Chosen", "RuleSets", "check_name", "version_of"]

_MAX_NAME = 64


class Chosen(NamedTuple):
    """Rules to try."""

    version: int | None
    """0: none at all; None: a draft."""
    rules: CompiledRules


class RuleSets:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def check_access(self, identity: Identity, owner: str) -> None:
        """Raises Forbidden, and NotFound for a tenant that is not there."""
        if owner == PLATFORM:
            check_admin(identity)
            return
        check_own(identity, owner)
        self._backend.tenant(owner)

    def facts(self, owner: str) -> Mapping[str, Any]:
        """What rules see as `Tenant`."""
        return tenant_facts(self._backend.registry.get(records.TENANTS, owner))

    def all(self, owner: str) -> list[RuleSet]:
        items = self._backend.registry.items(records.RULES).items()
        return [RuleSet.from_json(value) for key, value in sorted(items) if key.startswith(f"{owner}.")]

    def find(self, owner: str, name: str) -> RuleSet:
        """Raises InvalidInput, NotFound."""
        rules = self.get(owner, name)
        if rules is None:
            raise self._missing(owner, name)
        return rules

    def _missing(self, owner: str, name: str) -> NotFound:
        who = "The platform" if owner == PLATFORM else f"Tenant {owner}"
        names = ", ".join(item.name for item in self.all(owner)) or "none at all"
        return NotFound(f"{who} has no rule set {name}; it has {names}.")

    def entry(self, owner: str, name: str) -> tuple[RuleSet, int]:
        """With its revision. Raises InvalidInput, NotFound."""
        check_name(name)
        entry = self._backend.registry.entry(records.RULES, rule_key(owner, name))
        if entry is None:
            raise self._missing(owner, name)
        return RuleSet.from_json(entry[0]), entry[1]

    def get(self, owner: str, name: str) -> RuleSet | None:
        """Raises InvalidInput."""
        check_name(name)
        record = self._backend.registry.get(records.RULES, rule_key(owner, name))
        return None if record is None else RuleSet.from_json(record)

    def draft_or_version(self, owner: str, name: str, text: str | None, version: int | None) -> Chosen | None:
        """The text, else the version; None if neither is given. Raises RuleSyntaxError, NotFound."""
        if text is not None and version is not None:
            raise InvalidInput("Give a text or a version.", (FieldError("text", "not together with `version`"),))
        if text is not None:
            check_name(name)
            return Chosen(None, compile_rules(text, name=name))
        if version is not None:
            found = version_of(self.find(owner, name), version) if version else None
            return compiled(name, found)
        return None


def compiled(name: str, version: RuleVersion | None) -> Chosen:
    return Chosen(version.version if version else 0, compile_rules(version.text if version else "", name=name))


def check_name(name: str) -> None:
    if not (len(name) <= _MAX_NAME and name.replace("-", "").replace("_", "").isalnum() and name.isascii()):
        message = f"up to {_MAX_NAME} letters, digits, '-' and '_'"
        raise InvalidInput(f"{name!r} is not a rule set's name: use {message}.", (FieldError("name", message),))


def version_of(rules: RuleSet, number: int) -> RuleVersion:
    """Raises NotFound."""
    for version in rules.versions:
        if version.version == number:
            return version
    kept = ", ".join(str(item.version) for item in rules.versions)
    raise NotFound(f"Rule set {rules.name} has no version {number}; it has {kept}.")
