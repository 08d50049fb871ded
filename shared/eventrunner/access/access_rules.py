"""Reads Oathkeeper access rules: the subset that our rules use, so that the local gateway follows the same file.

Whatever is not understood is refused with ConfigurationError, never skipped: a rule that means more than we read would
be a hole in one of the two gateways.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

import yaml

from eventrunner.errors import ConfigurationError

__all__ = ["AccessRule", "Credential", "Permission", "TenantFrom", "load_access_rules", "parse_access_rules"]


class Credential(Enum):
    """Where a caller's identity is looked for; the first one that is present decides."""

    BEARER_KEY = "API key in Authorization"
    HEADER_KEY = "API key in X-Api-Key"
    TOKEN = "JWT in Authorization"
    NONE = "nobody is asked"


class TenantFrom(Enum):
    """Whose things a call touches."""

    PATH = "the first variable segment of the path"
    CALLER = "the caller's own tenant"
    NOBODY = "things that belong to no tenant"


@dataclass(frozen=True, slots=True)
class Permission:
    """What the policy is asked for."""

    resource: str
    action: str
    tenant: TenantFrom


@dataclass(frozen=True, slots=True)
class AccessRule:
    id: str
    service: str
    """Knative Service that answers."""
    methods: tuple[str, ...]
    template: str
    """The path for people, its variable parts as `*`."""
    literal: str | None
    """The whole path, when no part of it varies."""
    pattern: re.Pattern[str]
    """Matches the whole path; group 1 is its first variable part."""
    credentials: tuple[Credential, ...]
    permission: Permission | None
    """None: everybody may."""


def load_access_rules(path: Path) -> tuple[AccessRule, ...]:
    """Raises ConfigurationError that names the file and the rule."""
    try:
        return parse_access_rules(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"The access rules cannot be read: {error}.") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{path.name}: {error}") from error


def parse_access_rules(text: str) -> tuple[AccessRule, ...]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"not YAML: {error}") from error
    if not isinstance(document, list):
        raise ConfigurationError("must be a list of rules.")
    rules = tuple(_rule(item) for item in document)
    if len({rule.id for rule in rules}) < len(rules):
        raise ConfigurationError("two rules have the same id.")
    return rules


def _rule(item: Any) -> AccessRule:
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        raise ConfigurationError("every rule needs an id.")
    try:
        return _read(item)
    except ConfigurationError as error:
        raise ConfigurationError(f"rule {item['id']}: {error}") from error


def _read(item: dict[str, Any]) -> AccessRule:
    _only(item, {"id", "description", "upstream", "match", "authenticators", "authorizer", "mutators", "errors"})
    match = _mapping(item.get("match"), "match")
    _only(match, {"methods", "url"})
    literal, pattern = _compile(match.get("url"))
    _check_mutators(item.get("mutators"))
    for name, _ in _handlers(item.get("errors"), "errors"):
        if name != "json":
            raise ConfigurationError(f"unknown error handler {name!r}.")
    rule = AccessRule(
        item["id"],
        _service(item.get("upstream")),
        _methods(match.get("methods")),
        _VARIABLE.sub("*", str(match.get("url"))[len(_ORIGIN) - 1 :]),
        literal,
        pattern,
        tuple(_credentials(item.get("authenticators"))),
        _permission(item.get("authorizer")),
    )
    return _consistent(rule)


def _consistent(rule: AccessRule) -> AccessRule:
    if Credential.NONE in rule.credentials and (rule.permission or len(rule.credentials) > 1):
        raise ConfigurationError("a rule that asks nobody who they are can neither ask others nor need a permission.")
    if Credential.NONE not in rule.credentials and rule.permission is None:
        raise ConfigurationError("a rule that asks who is calling needs a permission.")
    if rule.permission and rule.permission.tenant is TenantFrom.PATH and not rule.pattern.groups:
        raise ConfigurationError("its tenant comes from the path, which has no variable part.")
    return rule


_HOST: Final = re.compile(r"https?://([a-z0-9-]+)\.eventrunner\.svc\.cluster\.local")


def _service(upstream: Any) -> str:
    upstream = _mapping(upstream, "upstream")
    _only(upstream, {"url"})
    match = _HOST.fullmatch(str(upstream.get("url")))
    if match is None:
        raise ConfigurationError("upstream.url must be http://<service>.eventrunner.svc.cluster.local.")
    return match[1]


_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


def _methods(methods: Any) -> tuple[str, ...]:
    if not isinstance(methods, list) or not methods or not _METHODS.issuperset(methods):
        raise ConfigurationError(f"match.methods must be a list out of {', '.join(sorted(_METHODS))}.")
    return tuple(methods)


_ORIGIN: Final = "<https?>://<[^/]+>/"
_VARIABLE: Final = re.compile(r"<([^<>]+)>")


def _compile(url: Any) -> tuple[str | None, re.Pattern[str]]:
    """Oathkeeper's strategy `regexp`: literal text with a regular expression in each pair of angle brackets."""
    if not isinstance(url, str) or not url.startswith(_ORIGIN):
        raise ConfigurationError(f"match.url must start with {_ORIGIN}.")
    path = url[len(_ORIGIN) - 1 :]
    parts = _VARIABLE.split(path)
    if any("<" in part or ">" in part for part in parts):
        raise ConfigurationError("match.url has brackets that do not pair.")
    try:
        compiled = re.compile("".join(f"({part})" if i % 2 else re.escape(part) for i, part in enumerate(parts)))
    except re.error as error:
        raise ConfigurationError(f"match.url is not a regular expression: {error}.") from error
    if compiled.groups != len(parts) // 2:
        raise ConfigurationError("match.url must not have groups of its own; they would shift the tenant's.")
    return (path if len(parts) == 1 else None), compiled


_CREDENTIALS: Final[Mapping[tuple[str, str], Credential]] = {
    ("bearer_token", '{"prefix": "er_"}'): Credential.BEARER_KEY,
    ("bearer_token", '{"token_from": {"header": "X-Api-Key"}}'): Credential.HEADER_KEY,
    ("jwt", "{}"): Credential.TOKEN,
    ("noop", "{}"): Credential.NONE,
}


def _credentials(handlers: Any) -> Iterable[Credential]:
    for name, config in _handlers(handlers, "authenticators"):
        credential = _CREDENTIALS.get((name, json.dumps(config, sort_keys=True)))
        if credential is None:
            raise ConfigurationError(f"unknown authenticator {name!r} with {config}.")
        yield credential


def _check_mutators(handlers: Any) -> None:
    """Of public rules too: else a caller's key would reach the function."""
    if list(_handlers(handlers, "mutators")) != [("id_token", {}), ("header", {})]:
        raise ConfigurationError(
            "mutators must be id_token, which puts our identity into Authorization, and header, which takes X-Api-Key "
            "away."
        )


_SUBJECT: Final = {
    "authenticated": True,
    "id": "{{ .Subject | toJson }}",
    "tenant": "{{ .Extra.tenant | toJson }}",
    "roles": "{{ .Extra.roles | toJson }}",
}
_TENANTS: Final[Mapping[str, TenantFrom]] = {
    "{{ printIndex .MatchContext.RegexpCaptureGroups 2 | toJson }}": TenantFrom.PATH,
    "{{ .Extra.tenant | toJson }}": TenantFrom.CALLER,
    "": TenantFrom.NOBODY,
}
_TEMPLATE: Final = re.compile(r"\{\{[^{}]*\}\}")


def _permission(authorizer: Any) -> Permission | None:
    authorizer = _mapping(authorizer, "authorizer")
    if authorizer == {"handler": "allow"}:
        return None
    match authorizer:
        case {"handler": "remote_json", "config": {"payload": str(payload), **others}, **more} if (
            not others and not more
        ):
            return _payload(payload)
        case _:
            raise ConfigurationError("authorizer must be allow, or remote_json with a payload.")


def _payload(template: str) -> Permission:
    """Each `{{ … }}` stands for one JSON value, so the payload is JSON once they are put in quotes."""
    try:
        document = json.loads(_TEMPLATE.sub(lambda match: json.dumps(match[0]), template))
    except ValueError as error:
        raise ConfigurationError(f"the payload is not JSON: {error}.") from error
    match document:
        case {"subject": subject, "resource": str(resource), "action": str(action), "tenant": str(tenant), **more}:
            if subject == _SUBJECT and tenant in _TENANTS and not more and "{{" not in resource + action:
                return Permission(resource, action, _TENANTS[tenant])
    raise ConfigurationError("the payload is not the policy's input in the form that both gateways understand.")


def _handlers(handlers: Any, name: str) -> Iterable[tuple[str, dict[str, Any]]]:
    if not isinstance(handlers, list) or not handlers:
        raise ConfigurationError(f"{name} must be a list that is not empty.")
    for handler in handlers:
        handler = _mapping(handler, name)
        _only(handler, {"handler", "config"})
        yield str(handler.get("handler")), _mapping(handler.get("config", {}), f"config of {name}")


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{name} must be a mapping.")
    return value


def _only(mapping: Mapping[str, Any], known: set[str]) -> None:
    unknown = mapping.keys() - known
    if unknown:
        raise ConfigurationError(f"unknown: {', '.join(sorted(map(str, unknown)))}.")
