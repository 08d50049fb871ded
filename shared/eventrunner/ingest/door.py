"""What every way in does with events once a request is read: whose they are, whether the quota allows them, storing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from nats.aio.client import Client

from eventrunner.access.identity import Identity, Verifier
from eventrunner.access.key_sets import await_keys
from eventrunner.access.senders import EventingSenders, eventing_senders
from eventrunner.budget import ByteBudget, Hold
from eventrunner.clock import format_time, utc_now
from eventrunner.errors import Forbidden, Unavailable
from eventrunner.events import Event
from eventrunner.ids import new_id
from eventrunner.ingest.full_letters import FullLetterBoxes
from eventrunner.ingest.intake import Intake, Request
from eventrunner.ingest.publisher import Publisher, report_failure
from eventrunner.ingest.quotas import Quotas, share
from eventrunner.memory import keep_memory
from eventrunner.settings import Settings
from eventrunner.storage.jetstream import connect, disconnect
from eventrunner.storage.mirror import Mirror
from eventrunner.telemetry import EVENTS_TOTAL, configure_logging, traceparent_or_new

__all__ = ["Door", "Visit"]

_CONNECT_SECONDS = 5.0
_EVENTING_ROLES = ("admin", "event_publisher")
"""Producers behind a Broker belong to the platform: the event says whose it is."""


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who may send events, and the bytes of theirs that are being worked on."""

    identity: Identity
    tenant: str
    """Empty for an admin whose events name theirs."""
    hold: Hold


class Door:
    """Connects on the first request, in the worker's own event loop."""

    def __init__(self, stage: str, buckets: Sequence[str] = ("tenants",)) -> None:
        self._stage = stage
        self._buckets = tuple(buckets)
        self._settings: Settings | None = None
        self._ready: tuple[Publisher, Quotas] | None = None
        self._client: Client | None = None
        self._connecting: asyncio.Task[tuple[Publisher, Quotas]] | None = None
        self._mirror: Mirror | None = None
        self._sharing: asyncio.Task[None] | None = None
        self._full_letters = FullLetterBoxes()
        self._accepted = EVENTS_TOTAL.labels(stage, "accepted")
        self._rejected = EVENTS_TOTAL.labels(stage, "rejected")

    @property
    def settings(self) -> Settings:
        return self._settings or self._read_settings()

    def _read_settings(self) -> Settings:
        settings = Settings.from_env()
        self._verifier = Verifier(settings.gateway_jwks)
        self._eventing: EventingSenders | None = eventing_senders(settings, settings.sink_audience)
        self._budget = ByteBudget(settings.max_held_bytes)
        configure_logging(self._stage, settings.log_level)
        self._settings = settings
        return settings

    async def identify(self, authorization: str | None) -> Identity:
        """Who came through the gateway, or through a Broker of the cluster. Raises Unauthenticated."""
        if self._settings is None:
            self._read_settings()
        return await await_keys(lambda: self._identity(authorization))

    def _identity(self, authorization: str | None) -> Identity:
        if self._eventing is not None and self._eventing.issued(authorization):
            sender = self._eventing.verify(authorization)
            return Identity(sender.subject, "", _EVENTING_ROLES)
        return self._verifier.verify(authorization)

    @property
    def is_open(self) -> bool:
        return self._client is not None and self._client.is_connected

    async def open(self) -> None:
        """Returns once NATS could be reached. Raises Unavailable while it could not."""
        settings = self.settings
        if self._ready is None:
            await self._connect(settings)

    async def close(self) -> None:
        if self._sharing is not None:
            self._sharing.cancel()
        if self._client is not None:
            await disconnect(self._client)

    def record(self, bucket: str, key: str) -> bytes | None:
        """Of the registry. Raises Unavailable while it was never read."""
        if self._mirror is None:
            raise Unavailable("The registry cannot be read just now; nothing was done. Try again.")
        return self._mirror.get(bucket, key)

    def note(self, bucket: str, key: str, value: bytes) -> None:
        """Writes to the registry some time, if it can."""
        if self._mirror is not None:
            self._mirror.put_later(bucket, key, value)

    @contextmanager
    def visit(self, identity: Identity, named: str | None) -> Iterator[Visit]:
        """`named`: the tenant that the request asks for. Raises Forbidden, and QuotaExceeded before anything is read
        that costs time: who sends too much shall not slow the others."""
        tenant = self._tenant(identity, named)
        self._quotas.check(tenant)
        self._full_letters.check(tenant)
        with self._budget.hold(tenant or identity.subject) as hold:
            yield Visit(identity, tenant, hold)

    def request(
        self, visit: Visit, headers: Mapping[str, str], query: Mapping[str, str], body: bytes, traceparent: str | None
    ) -> Request:
        return Request(
            headers=headers,
            query=query,
            body=body,
            tenant=visit.tenant,
            is_admin="admin" in visit.identity.roles,
            tenant_exists=self._tenant_exists,
            received=format_time(utc_now()),
            traceparent=traceparent_or_new(traceparent),
            max_event_bytes=self.settings.max_event_bytes,
            make_id=new_id,
        )

    async def store(self, intake: Intake) -> None:
        """Returns when JetStream has what was accepted. Raises Unavailable or QuotaExceeded when nothing was taken."""
        assert self._ready is not None
        publisher, quotas = self._ready
        self._rejected.inc(len(intake.rejected))
        for tenant in intake.accepted:
            self._full_letters.check(tenant)
        with _charged(quotas, intake.accepted):
            await publisher.store(intake.accepted)
        self._accepted.inc(intake.count)

    @property
    def _quotas(self) -> Quotas:
        assert self._ready is not None
        return self._ready[1]

    def _tenant(self, identity: Identity, named: str | None) -> str:
        tenant = identity.tenant if named is None else named
        if tenant != identity.tenant and "admin" not in identity.roles:
            raise Forbidden(f"This key may not send events of tenant {tenant!r}.")
        if tenant and not self._tenant_exists(tenant):
            raise Forbidden(f"There is no tenant {tenant!r}.")
        return tenant

    def _tenant_exists(self, tenant: str) -> bool:
        return self.record("tenants", tenant) is not None

    async def _connect(self, settings: Settings) -> tuple[Publisher, Quotas]:
        """All requests that come meanwhile wait for the same attempt. Raises Unavailable when it fails."""
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._open(settings))
            # Retrieves the error, which nobody else does when every client has left.
            self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())
        # A client that leaves takes nobody else's connection with it.
        return await asyncio.shield(self._connecting)

    async def _open(self, settings: Settings) -> tuple[Publisher, Quotas]:
        if self._mirror is None:
            self._mirror = Mirror(settings.nats_url, self._buckets)
        mirror = self._mirror
        await asyncio.to_thread(mirror.start)
        publisher: Publisher | None = None

        async def lost() -> None:
            if publisher is not None:
                await publisher.disconnected()

        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                client = await connect(settings.nats_url, name=self._stage, on_disconnect=lost)
        except TimeoutError:
            raise Unavailable("The message store is not reachable; nothing was taken. Try again.") from None
        publisher = Publisher(client, max_events=settings.max_message_events, max_bytes=settings.max_message_bytes)
        await self._full_letters.follow(client)
        quotas = Quotas(lambda tenant: mirror.get("tenants", tenant))
        self._sharing = asyncio.create_task(share(quotas, client))
        self._sharing.add_done_callback(report_failure)
        self._client, self._ready = client, (publisher, quotas)
        keep_memory()
        return self._ready


@contextmanager
def _charged(quotas: Quotas, accepted: Mapping[str, Sequence[Event]]) -> Iterator[None]:
    """Raises QuotaExceeded when one of the tenants has sent too much; what is not stored costs nothing."""
    costs = [(tenant, len(events), sum(event.usagein for event in events)) for tenant, events in accepted.items()]
    for tenant, _, _ in costs:
        quotas.check(tenant)
    for tenant, events, size in costs:
        quotas.charge(tenant, events, size)
    try:
        yield
    except BaseException:
        for tenant, events, size in costs:
            quotas.charge(tenant, -events, -size)
        raise
