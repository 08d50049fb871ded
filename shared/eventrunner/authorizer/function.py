"""The authorizer as an asynchronous functions-framework function."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import msgspec
from prometheus_client import Counter
from starlette.requests import Request
from starlette.responses import Response

from eventrunner.access.access_rules import Credential
from eventrunner.access.credentials import Authenticator
from eventrunner.access.key_uses import KeyUses
from eventrunner.access.policy import Policy
from eventrunner.authorizer.decisions import Decisions, EmbeddedPolicy, OpaPolicy
from eventrunner.errors import Forbidden, NotFound
from eventrunner.settings import Settings
from eventrunner.stage.asgi import answered, page, read_body
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.records import KEY_USES
from eventrunner.telemetry import configure_logging

__all__ = ["AuthorizerFunction"]

_log = logging.getLogger(__name__)
_decided = logging.getLogger("eventrunner.decisions")

_STAGE: Final = "authorizer"
_DECISIONS = Counter("eventrunner_decisions_total", "Decisions by answer.", ["answer"])
_KEYS: Final = (Credential.BEARER_KEY, Credential.HEADER_KEY)
_MAX_BODY: Final = 64 * 1024
_LONGEST: Final = 200
"""Characters of a value that the log keeps."""


class AuthorizerFunction:
    """`GET /v1/key` answers who holds the key in the request's headers; `POST /v1/decision` answers the policy's input
    document with 200 or 403 and with nothing else: Oathkeeper repeats a question that is answered otherwise, a 429 as
    late as its Retry-After says, with the client waiting. So quotas are left to ingest, which looks at them first."""

    def __init__(self, policies: Path) -> None:
        self._policies = policies
        self._parts: _Parts | None = None

    async def main(self, request: Request) -> Response:
        return await answered(_STAGE, request, self._answer)

    async def _answer(self, request: Request) -> Response:
        match request.method, request.url.path:
            case "POST", "/v1/decision":
                return await self._decide(await read_body(request, _MAX_BODY))
            case "GET", "/v1/key":
                return await self._identify(request)
            case "GET" | "HEAD", _:
                return page(request)
        raise NotFound(f"There is no {request.method} {request.url.path}.")

    async def _decide(self, body: bytes) -> Response:
        started = time.perf_counter()
        question = _read(body)
        try:
            parts = self._ready()
            allowed = question is not None and await parts.decisions.allows(question)
        except Exception:
            _log.exception("a decision failed; denied")
            allowed = False
        _note(question, "allowed" if allowed else "denied", started)
        if not allowed:
            raise Forbidden("The policy does not allow this.")
        return Response(status_code=HTTPStatus.OK)

    async def _identify(self, request: Request) -> Response:
        parts = self._ready()
        await asyncio.to_thread(parts.registry.start)
        identity = parts.authenticator.identify(request.headers, _KEYS)
        extra = {"tenant": identity.tenant, "roles": list(identity.roles)}
        return Response(json.dumps({"sub": identity.subject, "extra": extra}), media_type="application/json")

    def _ready(self) -> _Parts:
        if self._parts is None:
            self._parts = _Parts(Settings.from_env(), self._policies)
        return self._parts


class _Parts:
    """What is made on the first request, in the worker's own event loop."""

    def __init__(self, settings: Settings, policies: Path) -> None:
        configure_logging(_STAGE, settings.log_level)
        self.registry = Mirror(settings.nats_url, ("keys",))
        self.authenticator = Authenticator(
            lambda name: self.registry.get("keys", name),
            uses=KeyUses(lambda key, moment: self.registry.put_later(KEY_USES, key, moment)),
        )
        self.decisions: Decisions = (
            OpaPolicy(settings.opa_url) if settings.opa_url else EmbeddedPolicy(Policy.from_folder(policies))
        )


def _read(body: bytes) -> Mapping[str, Any] | None:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _note(question: Mapping[str, Any] | None, answer: str, started: float) -> None:
    """One line for each decision: who, what, of whom, the answer and how long it took. It holds no credentials, as the
    question has none."""
    asked = question or {}
    subject = asked.get("subject")
    who = subject if isinstance(subject, dict) else {}
    _DECISIONS.labels(answer).inc()
    line = {
        "subject": _short(who.get("id")),
        "of": _short(who.get("tenant")),
        "roles": _short(who.get("roles")),
        "resource": _short(asked.get("resource")),
        "action": _short(asked.get("action")),
        "tenant": _short(asked.get("tenant")),
        "answer": answer if question is not None else "denied: no question",
        "ms": round((time.perf_counter() - started) * 1e3, 2),
    }
    _decided.info("%s", json.dumps(line, ensure_ascii=False))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:_LONGEST]
