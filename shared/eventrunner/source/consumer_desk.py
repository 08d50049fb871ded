"""Where a consumer's process gets what it needs and leaves what its guest logs, without any credentials of NATS.

A list of what it may publish and subscribe to would not do: the server does not check the subject that it is asked to
answer to, so whoever may read one message through JetStream's API can have it stored in any stream of the account.

The process shows the token that came with its last batch. That is signed for this consumer's own Service, so it opens
nothing but what belongs to this consumer, lives for minutes, and does not have to be handed out or kept anywhere.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web
from nats.aio.client import Client
from nats.errors import Error as NatsError

from eventrunner.access.identity import Verifier
from eventrunner.access.senders import SOURCE_ISSUER, audience_of
from eventrunner.errors import EventRunnerError, InvalidInput, NotFound, Unavailable
from eventrunner.http_body import read_body
from eventrunner.http_server import problem_response
from eventrunner.source.tenant_consumers import kubernetes_name
from eventrunner.storage.consumer_logs import MOST_LINE_BYTES, log_subject
from eventrunner.storage.consumer_state import ConsumerStates
from eventrunner.tenancy import is_tenant

__all__ = ["ConsumerDesk"]

_MOST_BODY: Final = 8 * 1024 * 1024
_FLUSH_SECONDS: Final = 5.0


class ConsumerDesk:
    """Answers `GET /consumers/<tenant>/<name>` with a `ConsumerState`, `GET …/modules/<sha256>` with the module that
    the consumer's record names, and takes lines of log in `POST …/logs`."""

    def __init__(self, client: Client, public_keys: str, namespace: str) -> None:
        """`public_keys`: of whoever signs what is sent to consumers, whose Services are in the namespace."""
        self._client = client
        self._states = ConsumerStates(client)
        self._public_keys = public_keys
        self._namespace = namespace

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Every error as a problem document: 401 for whoever is not the consumer, 404 for what it does not have, 503
        when NATS does not answer."""
        try:
            return await self._answer(request)
        except EventRunnerError as error:
            return problem_response(error)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        match request.method, request.raw_path.split("/")[1:]:
            case "GET", ["consumers", tenant, name]:
                self._admit(request, tenant, name)
                return web.Response(body=msgspec.json.encode(await self._states.read(tenant, name)))
            case "GET", ["consumers", tenant, name, "modules", sha256]:
                self._admit(request, tenant, name)
                code = await self._states.module(tenant, name, sha256)
                if code is None:
                    raise NotFound(f"The module {sha256} is not there, or not that of consumer {tenant}/{name}.")
                return web.Response(body=code, content_type="application/wasm")
            case "POST", ["consumers", tenant, name, "logs"]:
                self._admit(request, tenant, name)
                await self._log(tenant, name, await read_body(request, _MOST_BODY))
                return web.Response(status=HTTPStatus.NO_CONTENT)
            case _:
                raise NotFound(f"There is no {request.method} {request.path} here.")

    def _admit(self, request: web.BaseRequest, tenant: str, name: str) -> None:
        """Raises Unauthenticated unless the token is that of this consumer."""
        audience = audience_of("serving.knative.dev/v1", "Service", self._namespace, kubernetes_name(tenant, name))
        verifier = Verifier(self._public_keys, issuer=SOURCE_ISSUER, audience=audience)
        verifier.verify(request.headers.get("Authorization"))
        if not (is_tenant(tenant) and is_tenant(name)):
            raise InvalidInput(f"{tenant}/{name} is no consumer.")

    async def _log(self, tenant: str, name: str, body: bytes) -> None:
        """The subject is the consumer's, whatever it sends. What is no line of log is left out."""
        subject = log_subject(tenant, name)
        try:
            for line in body.splitlines():
                if 0 < len(line) <= MOST_LINE_BYTES:
                    await self._client.publish(subject, line)
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._client.flush()
        except (NatsError, OSError, TimeoutError) as error:
            raise Unavailable(f"The lines cannot be stored just now: {error or type(error).__name__}.") from error
