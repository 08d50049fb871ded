"""What the calls work on, opened at the first use in the process that serves them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from threading import Lock

from eventrunner.access.identity import Identity
from eventrunner.api.recording import RecordingMirror
from eventrunner.billing.plans import Plan, parse_plan, shipped_plan
from eventrunner.errors import Conflict, Forbidden, InvalidInput, NotFound
from eventrunner.settings import Settings
from eventrunner.storage import records
from eventrunner.storage.analytics import Analytics
from eventrunner.storage.event_store import EventStore
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.modules import ModuleStore
from eventrunner.storage.records import Key, Tenant
from eventrunner.storage.stores import open_store
from eventrunner.tenancy import check_tenant

__all__ = ["Backend", "check_admin", "check_own"]

_ATTEMPTS = 8


class Backend:
    """Opens nothing until it is asked, because a function is imported before its server forks."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._lock = Lock()
        self._registry: RecordingMirror | None = None
        self._store: EventStore | None = None
        self._analytics: Analytics | None = None

    @property
    def registry(self) -> Mirror:
        with self._lock:
            if self._registry is None:
                buckets = (
                    records.TENANTS,
                    records.KEYS,
                    records.PLANS,
                    records.RULES,
                    records.CONSUMERS,
                    records.CONSUMER_STATUS,
                    records.REPLAYS,
                    records.SIGNING_KEYS,
                )
                self._registry = RecordingMirror(self._settings().nats_url, buckets)
            return self._registry

    @property
    def store(self) -> EventStore:
        """Raises Unavailable while the store is away; a later call tries again."""
        with self._lock:
            if self._store is None:
                store = open_store(self._settings().store_url)
                store.migrate()
                self._store = store
            return self._store

    @property
    def analytics(self) -> Analytics:
        """Raises Unavailable while ClickHouse is away; a later call tries again."""
        with self._lock:
            if self._analytics is None:
                analytics = Analytics(self._settings().clickhouse_url)
                analytics.migrate()
                self._analytics = analytics
            return self._analytics

    @property
    def settings(self) -> Settings:
        return self._settings()

    @property
    def modules(self) -> ModuleStore:
        return ModuleStore(self.registry)

    def tenant(self, name: str) -> Tenant:
        """Raises InvalidInput for a name that cannot be a tenant's, NotFound for a tenant that was not created."""
        return self._tenant(name, self.known(records.TENANTS, check_tenant(name)))

    def tenant_entry(self, name: str) -> tuple[Tenant, int]:
        """With its revision."""
        value, revision = self.registry.entry(records.TENANTS, check_tenant(name)) or (None, 0)
        return self._tenant(name, value), revision

    def _tenant(self, name: str, record: bytes | None) -> Tenant:
        if record is None:
            raise NotFound(f"There is no tenant {name}: create it with PUT /api/v1/tenants/{name}.")
        return Tenant.from_json(record)

    def entry(self, bucket: str, key: str) -> tuple[bytes, int] | None:
        """Value and revision as the server has them: the mirror may be behind what was just written, here or by another
        process. None also for what can be no key."""
        with contextlib.suppress(InvalidInput):
            return self.registry.entry(bucket, key)
        return None

    def known(self, bucket: str, key: str) -> bytes | None:
        """The value that the mirror has, and where it has none, what the server has."""
        value = self.registry.get(bucket, key)
        if value is None and (entry := self.entry(bucket, key)) is not None:
            return entry[0]
        return value

    def no_consumer(self, tenant: str, name: str) -> str:
        """That the tenant has no such consumer, and which ones it has."""
        names = sorted(self.registry.among(records.CONSUMERS, tenant)[0])
        return f"tenant {tenant} has no consumer {name}; it has {', '.join(names) or 'none at all'}"

    def keys(self, tenant: str) -> list[Key]:
        """The tenant's, the oldest first, as the mirror has them."""
        found = (Key.from_json(value) for value in self.registry.items(records.KEYS).values())
        return sorted((key for key in found if key.tenant == tenant), key=lambda key: (key.created, key.id))

    def plan_document(self, name: str) -> bytes | None:
        """The JSON of a plan, from the registry or else as it ships."""
        record = self.known(records.PLANS, name)
        if record is not None:
            return record
        shipped = shipped_plan(name)
        return None if shipped is None else shipped.to_json()

    def plan_of(self, tenant: str) -> Plan:
        """The tenant's plan, or the standard one for a tenant without a record. Raises NotFound for a plan that is
        neither stored nor shipped."""
        record = self.known(records.TENANTS, check_tenant(tenant))
        name = (Tenant(tenant) if record is None else Tenant.from_json(record)).plan
        document = self.plan_document(name)
        if document is None:
            raise NotFound(f"There is no plan {name}.")
        return parse_plan(document, name)

    def plan_entry(self, name: str) -> tuple[bytes, int] | None:
        """With its revision, which is 0 for one that ships."""
        if (entry := self.entry(records.PLANS, name)) is not None:
            return entry
        shipped = shipped_plan(name)
        return None if shipped is None else (shipped.to_json(), 0)

    def there_or_never(self, bucket: str, key: str) -> bytes | None:
        """The value. None: it is not there, nor will a write be that expects the key's revision 0, however late."""
        registry = self.registry
        if (entry := registry.entry(bucket, key)) is not None:
            return entry[0]
        with contextlib.suppress(Conflict):
            registry.delete(bucket, key, 0)
        entry = registry.entry(bucket, key)
        return None if entry is None else entry[0]

    def change(
        self,
        bucket: str,
        key: str,
        change: Callable[[bytes | None], bytes],
        check: Callable[[int | None], None] = lambda _: None,
    ) -> int:
        """Writes what `change` makes of the stored value, again if somebody else was faster; returns the revision.
        `check` is called with the revision that is replaced, None if there is none. Raises Conflict when that goes
        on, and what the two raise."""
        for attempt in range(_ATTEMPTS):
            entry = self.registry.entry(bucket, key)
            check(None if entry is None else entry[1])
            value = change(None if entry is None else entry[0])
            try:
                if entry is None:
                    return self.registry.create(bucket, key, value)
                return self.registry.update(bucket, key, value, entry[1])
            except Conflict:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def change_among(
        self,
        bucket: str,
        key: str,
        change: Callable[[bytes | None, Mapping[str, bytes]], bytes],
        check: Callable[[int | None], None] = lambda _: None,
    ) -> int:
        """Like `change`, of a key `<tenant>.<name>`: `change` gets the tenant's other values too, by name, which are so
        still when its own is written. So what it refuses for their sake comes of no two writes at once."""
        tenant, _, name = key.partition(".")
        for attempt in range(_ATTEMPTS):
            read = self.registry.among_now if attempt else self.registry.among
            found, last = read(bucket, tenant)
            entry = self.registry.entry(bucket, key)
            check(None if entry is None else entry[1])
            others = {other: value for other, value in found.items() if other != name}
            value = change(None if entry is None else entry[0], others)
            try:
                return self.registry.update_among(bucket, key, value, last)
            except Conflict:
                if attempt == _ATTEMPTS - 1:
                    raise Conflict(f"Too much of {tenant}'s is changed at the same time; try again.") from None
        raise AssertionError("unreachable")

    def close(self) -> None:
        if self._registry is not None:
            self._registry.close()
        if self._store is not None:
            self._store.close()
        if self._analytics is not None:
            self._analytics.close()


def check_own(identity: Identity, tenant: str) -> None:
    """The policy has decided this already; a wrong access rule must not open a tenant to another all the same."""
    if not identity.is_admin and identity.tenant != tenant:
        raise Forbidden(f"You may not see or change anything of tenant {tenant}.")


def check_admin(identity: Identity) -> None:
    if not identity.is_admin:
        raise Forbidden("Only an admin may do this.")
