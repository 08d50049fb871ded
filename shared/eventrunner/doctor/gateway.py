"""Sends a gateway what it has to let through and what it has to refuse, and compares the answers.

What is sent stands in `gateway_requests.yaml`, and in `gateway_tokens.yaml` what only a key that the gateway trusts can
sign, so that every gateway is held to the same.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import jwt
import yaml

from eventrunner.doctor.raw_http import Answer, RawRequest, send
from eventrunner.doctor.signed_tokens import Issuer

__all__ = ["Credentials", "Probe", "Result", "check", "read_probes", "signed_probes"]

_AT_ONCE: Final = 8
_ABSENT: Final = "doctor-nothing"
_ROLES: Final = ("user", "event_publisher", "admin")
_INJECTION: Final = 'x", "tenant": "{other}", "roles": ["admin"], "y": "'


@dataclass(frozen=True, slots=True)
class Credentials:
    """Two tenants; API keys of the first one by role, an operator's, and one that was deleted."""

    own: str
    other: str
    user: str
    event_publisher: str
    admin: str
    deleted: str


@dataclass(frozen=True, slots=True)
class Probe:
    name: str
    request: RawRequest
    expected: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Result:
    probe: Probe
    answer: Answer

    @property
    def passed(self) -> bool:
        return self.answer.status in self.probe.expected


def read_probes(credentials: Credentials) -> list[Probe]:
    document = _document("gateway_requests.yaml")
    maker = _Maker(credentials)
    probes = [probe for call in document["calls"] for probe in maker.of_call(call)]
    return probes + [maker.of_request(request) for request in document["requests"]]


def signed_probes(credentials: Credentials, issuer: Issuer) -> list[Probe]:
    """What only somebody can send who has a key that the gateway trusts."""
    maker = _Maker(credentials)
    return [maker.of_token(item, issuer) for item in _document("gateway_tokens.yaml")["tokens"]]


def _document(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(files("eventrunner.doctor").joinpath(name).read_text())
    return document


async def check(base_url: str, probes: Sequence[Probe], on_result: Callable[[Result], None]) -> list[Result]:
    """The results in the order of the probes. Raises Unavailable when the gateway cannot be reached."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(probe: Probe) -> Result:
        async with room:
            result = Result(probe, await send(base_url, probe.request))
        on_result(result)
        return result

    return list(await asyncio.gather(*map(one, probes)))


class _Maker:
    def __init__(self, credentials: Credentials) -> None:
        self._known = credentials
        self._headers = _credential_headers(credentials)
        self._values = {
            "own": credentials.own,
            "OWN": credentials.own.upper(),
            "other": credentials.other,
            "id": _ABSENT,
            "injection": _INJECTION.replace("{other}", credentials.other),
            "user": credentials.user,
            "user_basic": base64.b64encode(f"user:{credentials.user}".encode()).decode(),
        }

    def of_call(self, call: Mapping[str, Any]) -> Iterator[Probe]:
        """Each role, and nobody, on the call."""
        text = call["call"]
        for who in ("nobody", "unknown key"):
            yield self._probe(f"{text} by {who}", call, text, who, self._known.own, (401,))
        for role in _ROLES:
            if call[role]:
                yield self._probe(f"{text} by {role}", call, text, role, self._known.own, _statuses(call[role]))
        if call.get("other", True):
            for role in ("user", "event_publisher"):
                yield self._probe(f"{text} by {role} for another", call, text, role, self._known.other, (403,))

    def of_request(self, item: Mapping[str, Any]) -> Probe:
        who, expected = item.get("as", "user"), _statuses(item["status"])
        return self._probe(item["name"], item, item["call"], who, self._known.own, expected)

    def of_token(self, item: Mapping[str, Any], issuer: Issuer) -> Probe:
        self._values |= {"audience": issuer.audience, "ISSUER": issuer.name.upper()}
        token = issuer.token(
            self._known.own,
            claims=self._filled(item.get("claims", {})),
            header=item.get("header", {}),
            times=item.get("times", {}),
            signature=item.get("signature", ""),
        )
        self._headers["token"] = {"Authorization": f"Bearer {token}"}
        call = item.get("call", "GET /api/v1/events/{own}")
        return self._probe(item["name"], item, call, "token", self._known.own, _statuses(item["status"]))

    def _filled(self, value: Any) -> Any:
        """The claims with what their texts stand for."""
        match value:
            case str():
                return self._fill(value, self._known.own)
            case list():
                return [self._filled(member) for member in value]
            case dict():
                return {name: self._filled(member) for name, member in value.items()}
        return value

    def _probe(
        self, name: str, item: Mapping[str, Any], call: str, who: str, tenant: str, expected: tuple[int, ...]
    ) -> Probe:
        method, _, target = self._fill(call, tenant).partition(" ")
        headers = dict(self._headers[who])
        if "content_type" in item:
            headers["Content-Type"] = item["content_type"]
        headers |= {key: self._fill(value, tenant) for key, value in item.get("headers", {}).items()}
        body = self._fill(item.get("body", ""), tenant).encode()
        return Probe(name, RawRequest(method, target, headers, body, item.get("size", 0)), expected)

    def _fill(self, text: str, tenant: str) -> str:
        for name, value in {**self._values, "tenant": tenant}.items():
            text = text.replace("{" + name + "}", value)
        return text


def _statuses(value: int | list[int]) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def _credential_headers(known: Credentials) -> dict[str, dict[str, str]]:
    """What each `as` of the requests sends."""
    now = int(time.time())
    person: dict[str, object] = {"sub": "mallory", "tenant": known.own, "roles": ["admin"], "exp": now + 300}
    claims = {**person, "iss": "https://login.eventrunner.dev/", "aud": "eventrunner-api"}
    gateway = {**person, "iss": "eventrunner-gateway", "aud": "eventrunner", "iat": now}

    def token(claims: dict[str, object]) -> str:
        secret = b"a key that no installation knows, 32 bytes and more"
        return jwt.encode(claims, secret, "HS256", headers={"kid": "doctor"})

    bearers = {
        "user": known.user,
        "event_publisher": known.event_publisher,
        "admin": known.admin,
        "deleted key": known.deleted,
        "unknown key": "er_" + "a" * 40,
        "cut key": known.user[:-1],
        "key in capitals": known.user.upper(),
        "hash of the key": "er_" + hashlib.sha256(known.user.encode()).hexdigest(),
        "forged identity": token(gateway),
        "unsigned token": jwt.encode(claims, "", "none"),
        "token of an unknown key": token(claims),
    }
    return {"nobody": {}, **{name: {"Authorization": f"Bearer {text}"} for name, text in bearers.items()}}
