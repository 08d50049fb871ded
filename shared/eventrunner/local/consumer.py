"""One tenant's consumer on this machine: its service, its source, and whether its module can be run."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from eventrunner.access.senders import SourceSigner
from eventrunner.errors import EventRunnerError
from eventrunner.events.binary import BATCH_TYPE
from eventrunner.local import kinds
from eventrunner.local.activator import Activator
from eventrunner.local.consumer_status import StatusBoard
from eventrunner.local.functions import Launcher
from eventrunner.local.revision import Limits
from eventrunner.local.services import Service, read_service
from eventrunner.local.sinks import SharedSink
from eventrunner.source.sink import sink_audience
from eventrunner.source.spec import parse_source
from eventrunner.source.tenant_consumers import ConsumerTemplate, kubernetes_name, manifests
from eventrunner.source.tenant_durables import prepare_durable
from eventrunner.storage.jetstream import JetStreamApi
from eventrunner.storage.records import Consumer, tenant_key

__all__ = ["Checks", "ConsumerHost", "RunningConsumer", "reason_of"]

_log = logging.getLogger(__name__)
_RETRY: Final = 1.0
_TRIES: Final = 3
"""Of a process that has just come up, and may not have read all that it needs."""


@dataclass(slots=True)
class Checks:
    """Few at once: each starts a process."""

    limit: asyncio.Semaphore
    waiting: int = 0

    async def __aenter__(self) -> None:
        self.waiting += 1
        try:
            await self.limit.acquire()
        finally:
            self.waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self.limit.release()


@dataclass(frozen=True, slots=True)
class ConsumerHost:
    """What consumers run on."""

    api: JetStreamApi
    activator: Activator
    sink: SharedSink
    launcher: Launcher
    limits: Limits
    template: ConsumerTemplate
    settings: Mapping[str, Mapping[str, str]]
    """ConfigMaps."""
    folder: Path
    """Sources that the adapter follows."""
    signer: SourceSigner
    board: StatusBoard
    writing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(8))
    """What the server is asked for at once when a platform with many consumers starts."""
    checks: Checks = field(default_factory=lambda: Checks(asyncio.Semaphore(2)))


class RunningConsumer:
    def __init__(self, tenant: str, name: str, host: ConsumerHost) -> None:
        self.key = tenant_key(tenant, name)
        self.service = kubernetes_name(tenant, name)
        self._host = host
        self._file = host.folder / f"{self.service}.yaml"
        self._wanted: Consumer | None = None
        self._news = asyncio.Event()
        self._audience = ""
        self._is_doubted = False

    def want(self, record: Consumer | None) -> None:
        """None: it is to go."""
        self._wanted = record
        self._news.set()

    def doubt(self) -> None:
        """Whether its module can be run is to be seen once more."""
        self._is_doubted = True
        self._news.set()

    async def run(self) -> None:
        """Returns when it is not wanted any more, and nothing is left of it."""
        while True:
            self._news.clear()
            wanted = self._wanted
            try:
                if wanted is not None:
                    await self._apply(wanted)
                    await self._unless_news(self._check(wanted))
                    await self._news.wait()
                    continue
                await self._remove()
                if not self._news.is_set():
                    return
            except (EventRunnerError, OSError) as error:
                _log.error("consumer %s cannot be run just now: %s", self.key, error)
                if not (isinstance(error, EventRunnerError) and error.retryable):
                    self._host.board.say(self.key, "failed", str(error))
                await self._unless_news(asyncio.sleep(_RETRY))

    async def _apply(self, consumer: Consumer) -> None:
        host = self._host
        service_manifest, source_manifest = manifests(consumer, host.template)
        service = read_service(msgspec.convert(service_manifest, kinds.Service), host.settings)
        spec = parse_source(source_manifest)
        self._audience = sink_audience(spec.sink)
        _to_this_machine(source_manifest["spec"], host.sink.url(self.service), self._audience, host.limits, service)
        async with host.writing:
            await prepare_durable(host.api, parse_source(source_manifest))
        host.activator.add(service, host.launcher, host.limits)
        host.sink.services.add(self.service)
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(source_manifest, indent=1))
        new.replace(self._file)

    async def _remove(self) -> None:
        host = self._host
        # The adapter ends the source and removes its durable consumer.
        self._file.unlink(missing_ok=True)
        host.sink.services.discard(self.service)
        await host.activator.remove(self.service)
        host.board.forget(self.key)

    async def _check(self, consumer: Consumer) -> None:
        """As a new revision of Knative is started once to see whether it gets ready."""
        board, known = self._host.board, self._host.board.known.get(self.key)
        is_known = known is not None and known.state == "ready" and known.of == consumer.updated
        if is_known and not self._is_doubted:
            return
        self._is_doubted = False
        board.say(self.key, "starting", of=consumer.updated)
        async with self._host.checks:
            reason = await self._try()
            revision = self._host.activator.revisions.get(self.service)
            if revision is not None and self._host.checks.waiting:
                # So that many that are deployed at once do not all have a process for a while.
                revision.rest()
        board.say(self.key, "failed" if reason else "ready", reason)
        _log.log(logging.WARNING if reason else logging.INFO, "consumer %s: %s", self.key, reason or "ready")

    async def _try(self) -> str:
        """Why its module cannot be run; empty when it can."""
        reason = await self._send_nothing()
        for attempt in range(1, _TRIES):
            if not reason:
                break
            await asyncio.sleep(_RETRY * attempt)
            reason = await self._send_nothing()
        return reason

    async def _send_nothing(self) -> str:
        """A batch without events, upon which the function loads the module."""
        headers = {"Content-Type": BATCH_TYPE, "Authorization": self._host.signer.header(self._audience)}
        try:
            answer = await self._host.activator.send(self.service, "POST", "/", headers, b"[]")
            async with answer:
                return reason_of(answer.status, await answer.read())
        except EventRunnerError as error:
            revision = self._host.activator.revisions.get(self.service)
            return (revision.failure if revision is not None else "") or str(error)
        except (aiohttp.ClientError, OSError) as error:
            return f"its process broke off: {error!r}"

    async def _unless_news(self, work: Any) -> None:
        """Does the work until its end or until something else is wanted."""
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self._news.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if not tasks[0].cancelled() and (error := tasks[0].exception()) is not None:
            raise error


def reason_of(status: int, body: bytes) -> str:
    """What an answer says is wrong; empty when nothing is."""
    if status < HTTPStatus.BAD_REQUEST:
        return ""
    try:
        return msgspec.json.decode(body, type=_Problem).detail
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"status {status}"


class _Problem(msgspec.Struct):
    detail: str


def _to_this_machine(spec: dict[str, Any], url: str, audience: str, limits: Limits, service: Service) -> None:
    spec["sink"] = {"uri": url, "audience": audience}
    if service.concurrency:
        spec["inFlight"] = min(spec.get("inFlight", 1), limits.replicas * service.concurrency)
