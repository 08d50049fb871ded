"""One port for each Knative Service, where a source finds it as it would find the service's URL in a cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from eventrunner.errors import EventRunnerError, Unavailable
from eventrunner.http_server import Server, problem_response
from eventrunner.local.activator import Activator
from eventrunner.local.http_body import read_body
from eventrunner.local.ports import HOST

__all__ = ["Sinks"]

_log = logging.getLogger(__name__)
_HOP_BY_HOP: Final = frozenset(
    {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_MAX_BODY_BYTES: Final = 64 * 1024 * 1024


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
            return await self._forward(service, request)

        runner = web.ServerRunner(Server(forward, auto_decompress=False), shutdown_timeout=5)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, HOST, 0).start()
        return f"http://{HOST}:{runner.addresses[0][1]}"

    async def _forward(self, service: str, request: web.BaseRequest) -> web.StreamResponse:
        try:
            body = await read_body(request, _MAX_BODY_BYTES)
            answer = await self._activator.send(
                service, request.method, request.raw_path, _end_to_end(request.headers), body
            )
            async with answer:
                return web.Response(status=answer.status, headers=_end_to_end(answer.headers), body=await answer.read())
        except EventRunnerError as error:
            return problem_response(error)
        except (aiohttp.ClientError, OSError) as error:
            _log.warning("%s failed on a request: %r", service, error)
            return problem_response(Unavailable(f"{service} failed while it had the request."))


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP)
