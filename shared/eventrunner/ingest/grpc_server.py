"""The process of ingest over gRPC: server, health, reflection, metrics, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path
from typing import Final

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from eventrunner.access.authorizer import Authorizer
from eventrunner.access.credentials import Authenticator
from eventrunner.access.key_uses import KeyUses
from eventrunner.access.policy import Policy
from eventrunner.access.tokens import token_verifier
from eventrunner.errors import ConfigurationError, EventRunnerError
from eventrunner.ingest.door import Door
from eventrunner.ingest.grpc import SERVICE, STAGE, GrpcIngest
from eventrunner.settings import Settings
from eventrunner.storage.records import KEY_USES

__all__ = ["serve"]

_log = logging.getLogger(__name__)
_GRACE: Final = 20.0
"""Seconds that calls under way get to end after SIGTERM; Kubernetes allows 30 in all."""
_HEALTH_SECONDS: Final = 1.0


def serve(policies: Path) -> None:
    """Serves on $PORT (8080) of $HOST (all addresses) until SIGTERM. Raises ConfigurationError."""
    uvloop.run(_serve(policies))


async def _serve(policies: Path) -> None:
    door = Door(STAGE, ("tenants", "keys"))
    ingest = GrpcIngest(door, _authorizer(door, policies))
    server = grpc.aio.server(options=_options(door.settings), maximum_concurrent_rpcs=door.settings.max_calls)
    server.add_generic_rpc_handlers((ingest.handlers(),))
    health = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    reflection.enable_server_reflection((SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name), server)
    address = f"{os.environ.get('HOST', '[::]')}:{os.environ.get('PORT', '8080')}"
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise ConfigurationError(f"{address} cannot be listened on: {error}.") from error
    if door.settings.metrics_port:
        start_http_server(door.settings.metrics_port)
    await server.start()
    _log.info("ingest over gRPC on %s", address)
    await _until_stopped(server, door, health)


def _options(settings: Settings) -> list[tuple[str, int]]:
    """Those calls at once that `max_calls` allows, each with one message at a time, are what takes memory here."""
    return [
        # A message that is larger is answered RESOURCE_EXHAUSTED by the library, as it cannot be read; so is a call
        # that is one too many for the process.
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        # Those that are too many for one connection wait at the client. They are half, so that it is not refused while
        # the library still counts calls whose answers it has already, and leaves room for another one.
        ("grpc.max_concurrent_streams", max(1, settings.max_calls // 2)),
        # It would refuse those too that came while an answered one has not been tidied away.
        ("grpc.http.overload_protection", 0),
        ("grpc.so_reuseport", 0),
    ]


def _authorizer(door: Door, policies: Path) -> Authorizer:
    policy = Policy.from_folder(policies)
    authenticator = Authenticator(
        lambda name: door.record("keys", name),
        token_verifier(door.settings),
        uses=KeyUses(lambda key, moment: door.note(KEY_USES, key, moment)),
    )
    return Authorizer(authenticator, policy)


async def _until_stopped(server: grpc.aio.Server, door: Door, health: HealthServicer) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    watching = asyncio.create_task(_keep_health(door, health))
    await stopping.wait()
    watching.cancel()
    await asyncio.wait([watching])
    await health.enter_graceful_shutdown()
    await server.stop(_GRACE)
    await door.close()


async def _keep_health(door: Door, health: HealthServicer) -> None:
    """SERVING while events can be taken, which is also when a load balancer should send some."""
    status = health_pb2.HealthCheckResponse
    while True:
        with contextlib.suppress(EventRunnerError):
            await door.open()
        known = status.SERVING if door.is_open else status.NOT_SERVING
        for service in ("", SERVICE):
            await health.set(service, known)
        await asyncio.sleep(_HEALTH_SECONDS)
