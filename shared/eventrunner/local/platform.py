"""The whole platform in one process and its children: started in the order of need, stopped in the opposite one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import fields
from functools import partial
from typing import Any, Final, TypeVar

import aiohttp
from aiohttp import web

from eventrunner.access.access_rules import load_access_rules
from eventrunner.access.authorizer import Authorizer
from eventrunner.access.credentials import Authenticator
from eventrunner.access.identity import Signer
from eventrunner.access.key_uses import KeyUses
from eventrunner.access.policy import Policy
from eventrunner.access.senders import SourceSigner
from eventrunner.access.tokens import token_verifier
from eventrunner.errors import ConfigurationError, EventRunnerError, Unavailable
from eventrunner.http_server import Server
from eventrunner.local.activator import Activator
from eventrunner.local.adapter import SourceAdapter
from eventrunner.local.body_limits import body_limits
from eventrunner.local.broker import BrokerEndpoint
from eventrunner.local.clickhouse import ClickHouseServer
from eventrunner.local.consumer import ConsumerHost
from eventrunner.local.consumer_status import StatusBoard
from eventrunner.local.consumers import Consumers
from eventrunner.local.data_dir import DataDir
from eventrunner.local.first_start import admin_key, apply_manifests, register_admin, register_plans
from eventrunner.local.functions import FunctionLauncher
from eventrunner.local.gateway import Gateway
from eventrunner.local.manifests import Manifests, load_manifests
from eventrunner.local.nats_server import NatsServer
from eventrunner.local.ports import HOST
from eventrunner.local.project import Project
from eventrunner.local.reload import Reloaded, reload
from eventrunner.local.retention import sweep_regularly
from eventrunner.local.revision import Limits
from eventrunner.local.sinks import SharedSink, Sinks
from eventrunner.local.supervisor import Supervised
from eventrunner.local.tasks import start_task
from eventrunner.local.tcp_front import TcpFront
from eventrunner.local.upstream import new_probe_session
from eventrunner.settings import Settings
from eventrunner.source.consumer_desk import ConsumerDesk
from eventrunner.source.tenant_consumers import read_template
from eventrunner.stage.body import BODY_LIMIT
from eventrunner.storage.jetstream import JetStreamApi
from eventrunner.storage.records import KEY_USES, KEYS
from eventrunner.storage.registry import Registry

__all__ = ["Platform"]

_Part = TypeVar("_Part", bound=Supervised)

_log = logging.getLogger(__name__)
_NATS_SECONDS: Final = 30.0
"""Large streams take a while to recover."""
_SOON_SECONDS: Final = 3.0
"""The platform is ready without ClickHouse and the sources if need be; what wants them tries again."""
_STOP_SECONDS: Final = 10.0
_FOR_CONSUMERS: Final = ("sink_jwks", "log_level", "max_event_bytes", "max_body_bytes")
"""The settings that a process which runs a tenant's code is told."""


class Platform:
    """Use as an asynchronous context manager; inside, everything that `ready_line` names answers."""

    def __init__(self, project: Project, data: DataDir, port: int, settings: Settings) -> None:
        self._project = project
        self._data = data
        self._port = port
        self._settings = settings
        self._signer = Signer(data.gateway_keys())
        self._parts = contextlib.AsyncExitStack()
        self._is_ready = False
        self._activator: Activator | None = None
        self._adapter: SourceAdapter | None = None
        self.ready_line: dict[str, Any] = {}

    async def __aenter__(self) -> Platform:
        """Raises ConfigurationError for a project that cannot be run, Unavailable when a part does not start."""
        manifests = load_manifests(self._project.manifests)
        for service in manifests.services.values():
            self._project.function(service.function)
        async with self._parts:
            await self._start(manifests)
            self._parts = self._parts.pop_all()
        self._is_ready = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_ready = False
        await self._parts.aclose()

    async def reload(self) -> Reloaded:
        """Takes changed code in, see `local.reload`; inside the context only."""
        assert self._activator is not None
        assert self._adapter is not None
        return await reload(self._activator, self._adapter)

    async def _start(self, manifests: Manifests) -> None:
        session = await self._parts.enter_async_context(new_probe_session())
        clickhouse = await self._run(ClickHouseServer(self._data, session))
        nats = await self._run(NatsServer(self._data, session))
        await nats.until_ready(_NATS_SECONDS)
        key = admin_key(self._data)
        registry = await self._registry(nats.url, manifests, key)
        activator = self._functions(manifests, session, self._addresses(nats.url, clickhouse.url))
        await self._consumers(manifests, registry, activator, session)
        adapter = await self._sources(manifests, activator, nats.url, session)
        self._activator, self._adapter = activator, adapter
        broker = await self._broker(manifests, activator)
        grpc = await self._grpc(activator)
        url = await self._gateway(registry, activator)
        self._keep_running(sweep_regularly(registry, session, url, key))
        await asyncio.gather(_soon(clickhouse), _soon(adapter))
        self.ready_line = {
            "ready": True,
            "url": url,
            "portal": f"{url}/portal/",
            "grpc": grpc,
            "broker": broker,
            "nats": nats.url,
            "clickhouse": clickhouse.url,
            "admin_key": key,
        }

    async def _run(self, part: _Part) -> _Part:
        self._parts.push_async_callback(part.stop, _STOP_SECONDS)
        await part.start()
        return part

    async def _registry(self, nats_url: str, manifests: Manifests, key: str) -> Registry:
        await apply_manifests(nats_url, manifests.streams)
        registry = await Registry.connect(nats_url)
        self._parts.push_async_callback(registry.close)
        await register_admin(registry, key)
        await register_plans(registry)
        return registry

    def _functions(self, manifests: Manifests, session: aiohttp.ClientSession, addresses: dict[str, str]) -> Activator:
        launcher = FunctionLauncher(self._project, addresses, self._data.logs, session)
        limits = Limits(replicas=max(2, os.cpu_count() or 1), stop_seconds=_STOP_SECONDS)
        activator = Activator(manifests.services.values(), launcher, limits)
        self._parts.push_async_callback(activator.close)
        activator.start()
        return activator

    async def _consumers(
        self,
        manifests: Manifests,
        registry: Registry,
        activator: Activator,
        session: aiohttp.ClientSession,
    ) -> None:
        if not self._project.consumer_template.is_file():
            return
        template = read_template(self._project.consumer_template)
        signer = SourceSigner(self._data.source_keys())
        desk = ConsumerDesk(registry.client, signer.public_keys, template.service["metadata"]["namespace"])
        sink = SharedSink(activator, lambda service, status, body: consumers.answered(service, status, body))
        self._parts.push_async_callback(sink.close)
        await sink.start()
        env = self._consumer_environment(await self._open(desk.answer))
        launcher = FunctionLauncher(self._project, env, self._data.logs, session, runs_tenants_code=True)
        host = ConsumerHost(
            api=JetStreamApi(registry.client),
            activator=activator,
            sink=sink,
            launcher=launcher,
            limits=Limits(replicas=max(1, (os.cpu_count() or 1) - 1), stop_seconds=_STOP_SECONDS),
            template=template,
            settings=manifests.settings,
            folder=self._data.sources,
            signer=signer,
            board=StatusBoard(registry),
        )
        consumers = Consumers(registry, host)
        self._parts.push_async_callback(consumers.close)
        await consumers.start()

    async def _sources(
        self, manifests: Manifests, activator: Activator, nats_url: str, session: aiohttp.ClientSession
    ) -> SourceAdapter:
        sinks = Sinks(activator)
        self._parts.push_async_callback(sinks.close)
        urls = await sinks.start(sorted(set(manifests.sources.values())))
        level = self._settings.log_level
        return await self._run(SourceAdapter(self._project, self._data, nats_url, urls, level, session))

    async def _broker(self, manifests: Manifests, activator: Activator) -> str:
        broker = BrokerEndpoint(
            manifests.brokers,
            manifests.triggers,
            activator,
            signer=self._signer,
            max_body_bytes=self._settings.max_event_bytes,
        )
        self._parts.push_async_callback(broker.close)
        return await broker.start()

    async def _grpc(self, activator: Activator) -> str | None:
        """The address of ingest over gRPC, which authenticates its callers itself."""
        revision = activator.revisions.get("ingest-grpc")
        if revision is None:
            return None
        front = TcpFront(revision)
        self._parts.push_async_callback(front.close)
        return await front.start()

    async def _gateway(self, registry: Registry, activator: Activator) -> str:
        keys = registry.follow(KEYS, lambda change: None)
        self._keep_running(keys.run())
        await keys.loaded.wait()
        authenticator = Authenticator(
            lambda name: keys.state.get(name),
            token_verifier(self._settings),
            uses=KeyUses(partial(_note_use, registry)),
        )
        gateway = Gateway(
            load_access_rules(self._project.policies / "access-rules.yaml"),
            Authorizer(authenticator, Policy.from_folder(self._project.policies)),
            activator,
            signer=self._signer,
            max_body_bytes=BODY_LIMIT,
            max_held_bytes=self._settings.max_held_bytes,
            max_bytes_by_rule=body_limits(self._settings),
            is_ready=lambda: self._is_ready,
        )
        runner = gateway.runner()
        self._parts.push_async_callback(runner.cleanup)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, self._port).start()
        except OSError as error:
            raise ConfigurationError(f"Port {self._port} cannot be used: {error.strerror}; try --port 0.") from error
        return f"http://{HOST}:{runner.addresses[0][1]}"

    def _addresses(self, nats_url: str, clickhouse_url: str) -> dict[str, str]:
        """The environment of functions that follows from this machine, and what its owner has set for all of them. The
        event store is the one part that may be elsewhere."""
        chosen = {
            field.name: getattr(self._settings, field.name)
            for field in fields(Settings)
            if field.name not in ("url", "key", "source_keys") and getattr(self._settings, field.name) != field.default
        }
        here = {
            "nats_url": nats_url,
            "clickhouse_url": clickhouse_url,
            "gateway_jwks": self._signer.public_keys,
            "sink_jwks": SourceSigner(self._data.source_keys()).public_keys,
            "stream_replicas": 1,
        }
        values = {"store_url": self._data.store_url, **chosen, **here}
        return {f"EVENTRUNNER_{name.upper()}": str(value) for name, value in values.items()}

    def _consumer_environment(self, desk_url: str) -> dict[str, str]:
        """What is needed to run a tenant's code, and nothing else that this machine knows: no secret among it."""
        known = self._addresses("", "")
        wanted = {f"EVENTRUNNER_{name.upper()}" for name in _FOR_CONSUMERS}
        return {name: value for name, value in known.items() if name in wanted} | {
            "EVENTRUNNER_CONSUMER_DESK_URL": desk_url,
            "EVENTRUNNER_MODULE_CACHE": str(self._data.module_cache),
        }

    async def _open(self, handler: Callable[[web.BaseRequest], Awaitable[web.Response]]) -> str:
        """A port of its own on this machine; returns its URL."""
        runner = web.ServerRunner(Server(handler))
        self._parts.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        return f"http://{HOST}:{runner.addresses[0][1]}"

    def _keep_running(self, work: Coroutine[Any, Any, None]) -> None:
        task = start_task(work)

        async def cancel() -> None:
            task.cancel()
            await asyncio.wait([task])

        self._parts.push_async_callback(cancel)


async def _soon(part: Supervised) -> None:
    try:
        await part.until_ready(_SOON_SECONDS)
    except Unavailable as error:
        _log.warning("not ready yet: %s", error)


def _note_use(registry: Registry, key: str, moment: bytes) -> None:
    async def put() -> None:
        try:
            await registry.put(KEY_USES, key, moment)
        except EventRunnerError as error:
            _log.warning("%s", error)

    start_task(put())
