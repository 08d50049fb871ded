"""Where a source finds a Knative Service, as it would find the service's URL in a cluster: a port for each, and one
port with a path for each of those that come and go."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from eventrunner.errors import EventRunnerError, Unavailable
from eventrunner.http_body import read_body
from eventrunner.http_server import Server, problem_response
from eventrunner.local.activator import Activator
from eventrunner.local.ports import HOST

__all__ = ["OnAnswer", "SharedSink", "Sinks"]

_log = logging.getLogger(__name__)
_HOP_BY_HOP: Final = frozenset(
    {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_MAX_BODY_BYTES: Final = 64 * 1024 * 1024

OnAnswer: TypeAlias = Callable[[str, int, bytes], None]
"""Is told which service has answered, with what status, and with what body."""


class Sinks:
    """Plain forwarding, bodies whole in both directions."""

    def __init__(self, activator: Activator) -> None:
        self._activator = activator
        self._runners: list[web.ServerRunner] = []

    async def start(self, services: Iterable[str]) -> dict[str, str]:
        """The URL of each service."""
        return {service: await self._open(service) for service in services}

    async def close(self) -> None:
        for runner in self._runners:
            await runner.cleanup()

    async def _open(self, service: str) -> str:
        async def forward(request: web.BaseRequest) -> web.StreamResponse:
            return await _forward(self._activator, service, request, request.raw_path)

        runner = web.ServerRunner(Server(forward, auto_decompress=False), shutdown_timeout=5)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, HOST, 0).start()
        return f"http://{HOST}:{runner.addresses[0][1]}"


class SharedSink:
    """One port for any number of services: the first step of the path names the service, which sees the rest of it."""

    def __init__(self, activator: Activator, on_answer: OnAnswer) -> None:
        self.services: set[str] = set()
        """Those that can be reached."""
        self._activator = activator
        self._on_answer = on_answer
        self._runner = web.ServerRunner(Server(self._serve, auto_decompress=False), shutdown_timeout=5)
        self._url = ""

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
        self._url = f"http://{HOST}:{self._runner.addresses[0][1]}"

    def url(self, service: str) -> str:
        return f"{self._url}/{service}"

    async def close(self) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        service, _, path = request.raw_path[1:].partition("/")
        if service not in self.services:
            return problem_response(Unavailable(f"There is no service {service}."))
        response = await _forward(self._activator, service, request, f"/{path}")
        body = response.body
        self._on_answer(service, response.status, body if isinstance(body, bytes) else b"")
        return response


async def _forward(activator: Activator, service: str, request: web.BaseRequest, path: str) -> web.Response:
    try:
        body = await read_body(request, _MAX_BODY_BYTES)
        answer = await activator.send(service, request.method, path, _end_to_end(request.headers), body)
        async with answer:
            return web.Response(status=answer.status, headers=_end_to_end(answer.headers), body=await answer.read())
    except EventRunnerError as error:
        return problem_response(error)
    except (aiohttp.ClientError, OSError) as error:
        _log.warning("%s failed on a request: %r", service, error)
        return problem_response(Unavailable(f"{service} failed while it had the request."))


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP)
