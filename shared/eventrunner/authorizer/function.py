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
from starlette.requests import Request
from starlette.responses import Response

from eventrunner.access.access_rules import Credential
from eventrunner.access.credentials import Authenticator
from eventrunner.access.decision_log import DecisionLog
from eventrunner.access.key_uses import KeyUses
from eventrunner.access.policy import Policy, Verdict
from eventrunner.authorizer.decisions import Decisions, EmbeddedPolicy, OpaPolicy
from eventrunner.errors import Forbidden, NotFound, Unauthenticated
from eventrunner.settings import Settings
from eventrunner.stage.asgi import answered, page, read_body
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.records import KEY_USES
from eventrunner.telemetry import configure_logging

__all__ = ["AuthorizerFunction"]

_log = logging.getLogger(__name__)

_STAGE: Final = "authorizer"
_KEYS: Final = (Credential.BEARER_KEY, Credential.HEADER_KEY)
_MAX_BODY: Final = 64 * 1024


class AuthorizerFunction:
    """`GET /v1/key` answers who holds the key in the request's headers; `POST /v1/decision` answers the policy's input
    document with 200 or 403 and with nothing else: Oathkeeper repeats a question that is answered otherwise, a 429 as
    late as its Retry-After says, with the client waiting. So quotas are left to ingest, which looks at them first."""

    def __init__(self, policies: Path) -> None:
        self._policies = policies
        self._parts: _Parts | None = None
        self._log = DecisionLog()

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
        verdict = await self._verdict(question)
        self._log.note(verdict, time.perf_counter() - started, lambda: question or {})
        if verdict is not Verdict.ALLOWED:
            raise Forbidden("The policy does not allow this.")
        return Response(status_code=HTTPStatus.OK)

    async def _verdict(self, question: Mapping[str, Any] | None) -> Verdict:
        try:
            decisions = self._ready().decisions
            return Verdict.MALFORMED if question is None else await decisions.decide(question)
        except Exception:
            _log.exception("a decision failed; denied")
            return Verdict.FAILED

    async def _identify(self, request: Request) -> Response:
        parts = self._ready()
        await asyncio.to_thread(parts.registry.start)
        started = time.perf_counter()
        try:
            identity = parts.authenticator.identify(request.headers, _KEYS)
        except Unauthenticated as error:
            self._log.note_unknown(error, time.perf_counter() - started)
            raise
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
