"""Brings requests to functions: holds them while a function starts, and picks the replica with the fewest."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable, Mapping
from typing import Final

import aiohttp
from yarl import URL

from eventrunner.errors import Unavailable
from eventrunner.local.functions import Launcher
from eventrunner.local.ports import HOST
from eventrunner.local.revision import Limits, Revision
from eventrunner.local.services import Service
from eventrunner.local.upstream import Body, Response

__all__ = ["Activator"]

_TRIES: Final = 3


class Activator:
    def __init__(self, services: Iterable[Service], launch: Launcher, limits: Limits) -> None:
        self.revisions = {service.name: Revision(service, launch, limits) for service in services}

    def add(self, service: Service, launch: Launcher, limits: Limits) -> Revision:
        """A service that comes while others run; one that is there stays."""
        if service.name not in self.revisions:
            self.revisions[service.name] = Revision(service, launch, limits)
        return self.revisions[service.name]

    async def remove(self, name: str) -> None:
        """Takes no more requests for the service, lets those that it has end, and stops it."""
        revision = self.revisions.pop(name, None)
        if revision is not None:
            await revision.close()

    def start(self) -> None:
        """Starts what `min-scale` asks for."""
        for revision in self.revisions.values():
            if revision.service.scaling.min_scale:
                revision.wake()

    async def send(
        self, service: str, method: str, path_qs: str, headers: Mapping[str, str], body: bytes
    ) -> aiohttp.ClientResponse:
        """Answers once the head of the response is there; the caller reads or releases it.

        Raises Unavailable when no replica takes the request, and what aiohttp raises when one fails on the way.
        """
        revision = self.revisions.get(service)
        if revision is None:
            raise Unavailable(f"There is no service {service}.")
        for _ in range(_TRIES):
            replica = await revision.acquire()
            try:
                response = await replica.session.request(
                    method,
                    URL(f"http://{HOST}:{replica.port}{path_qs}", encoded=True),
                    headers=headers,
                    data=Body(body) if body else None,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_read=revision.service.timeout),
                )
            except aiohttp.ClientConnectorError as error:
                revision.release(replica)
                if not isinstance(error.os_error, ConnectionRefusedError):
                    raise
                # Never reached, so another replica can have it without doing anything twice.
                revision.discard(replica)
                continue
            except BaseException:
                revision.release(replica)
                raise
            assert isinstance(response, Response)
            response.when_done(functools.partial(revision.release, replica))
            return response
        raise Unavailable(f"{service} refuses connections; try again.")

    async def close(self) -> None:
        """Stops all functions, letting requests end first."""
        await asyncio.gather(*(revision.close() for revision in self.revisions.values()))
