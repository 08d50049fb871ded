"""Finds rule sets: those of a tenant, or the platform's own, which are an admin's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_admin, check_own
from eventrunner.errors import FieldError, InvalidInput, NotFound
from eventrunner.handlers.active_rules import compile_together
from eventrunner.handlers.rule_chain import RuleChain
from eventrunner.handlers.verdicts import tenant_facts
from eventrunner.rules import RuleSet as CompiledRules
from eventrunner.rules import combine, compile_rules
from eventrunner.storage import records
from eventrunner.storage.records import RuleSet, RuleVersion, rule_key
from eventrunner.tenancy import PLATFORM

__all__ = ["Chosen", "Draft", "InForce", "RuleSets", "check_name", "version_of"]

_MAX_NAME = 64


class Chosen(NamedTuple):
    """Rules to try."""

    version: int | None
    """0: none at all; None: a draft."""
    rules: CompiledRules


class Draft(NamedTuple):
    """Rules in place of what is in force of a set."""

    owner: str
    name: str
    rules: CompiledRules


class InForce(NamedTuple):
    """What the events of a tenant go through."""

    platform: list[str]
    """Names of the platform's sets."""
    own: list[str]
    chain: RuleChain


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
        """As the mirror has them."""
        found, _ = self._backend.registry.among(records.RULES, owner)
        return [RuleSet.from_json(value) for _, value in sorted(found.items())]

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
        entry = self._backend.entry(records.RULES, rule_key(owner, name))
        return None if entry is None else RuleSet.from_json(entry[0])

    def in_force(self, tenant: str, draft: Draft | None) -> InForce:
        """As the engine has it, but for the draft. Raises RuleSyntaxError if that does not go with the others."""
        platform, first = self._together(PLATFORM, draft)
        own, second = self._together(tenant, draft) if tenant and tenant != PLATFORM else ([], None)
        return InForce(platform, own, RuleChain(first, second))

    def _together(self, owner: str, draft: Draft | None) -> tuple[list[str], CompiledRules | None]:
        if draft is not None and draft.owner != owner:
            draft = None
        sets = [(item.name, item.in_force.text) for item in self.all(owner) if item.in_force is not None]
        if draft is None:
            return [name for name, _ in sets], compile_together(owner, sets)
        others = {name: compile_together(owner, [(name, text)]) for name, text in sets if name != draft.name}
        rules = {name: item for name, item in others.items() if item is not None} | {draft.name: draft.rules}
        return sorted(rules), combine(rules[name] for name in sorted(rules))

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
