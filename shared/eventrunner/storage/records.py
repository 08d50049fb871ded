"""The records of the registry, as JSON in its key-value buckets.

| bucket  | key               | value                 |
| ------- | ----------------- | --------------------- |
| tenants | tenant id         | Tenant                |
| keys    | hash of the key   | Key                   |
| key_uses | id of the key    | when it was used last |
| rules   | `<tenant>.<name>` | RuleSet               |
| plans   | plan name         | a plan of `billing`   |
| consumers | `<tenant>.<name>` | Consumer            |
| consumer_status | `<tenant>.<name>` | ConsumerStatus, written by what runs it |
| consumer_status | `<tenant>.<name>.skipped` | SkippedMessages, written by the source |
| replays | `<tenant>.<id>`   | `replay.Replay`       |
| idempotency | `<tenant>.<digest of who, what call, which key>` | kept for a day |
| signing_keys | `<tenant>.<key id>` | SigningKey         |
| stops   | `<stream>.<consumer>.<tenant>` | `source.stops.Stop` |
"""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from eventrunner.clock import Clock, format_time, utc_now
from eventrunner.errors import InvalidInput
from eventrunner.ids import new_id
from eventrunner.tenancy import check_tenant

__all__ = [
    "CONSUMERS",
    "CONSUMER_STATUS",
    "IDEMPOTENCY",
    "KEYS",
    "KEY_USES",
    "MOST_BURST",
    "MOST_RATE",
    "PLANS",
    "REPLAYS",
    "RULES",
    "SIGNING_KEYS",
    "STOPS",
    "TENANTS",
    "Consumer",
    "ConsumerStatus",
    "Key",
    "Limits",
    "Quota",
    "Record",
    "RuleSet",
    "RuleVersion",
    "SigningKey",
    "SkippedMessages",
    "StoredModule",
    "Subscription",
    "Tenant",
    "hash_key",
    "new_key",
    "new_text",
    "rule_key",
    "skipped_key",
    "tenant_key",
]

TENANTS, KEYS, PLANS, RULES, CONSUMERS, REPLAYS = "tenants", "keys", "plans", "rules", "consumers", "replays"
IDEMPOTENCY, KEY_USES, STOPS = "idempotency", "key_uses", "stops"
CONSUMER_STATUS, SIGNING_KEYS = "consumer_status", "signing_keys"
"""Names of the buckets."""

_KEY_PREFIX = "er_"


class Record(msgspec.Struct, omit_defaults=True):
    def to_json(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, value: bytes) -> Any:
        """Raises InvalidInput; members that this version does not know are passed over."""
        try:
            return msgspec.json.decode(value, type=cls)
        except msgspec.DecodeError as error:
            raise InvalidInput(f"Not a {cls.__name__} record: {error}.") from error


MOST_RATE: Final = 10**12
MOST_BURST: Final = 86_400
_Rate: TypeAlias = Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 1, "maximum": MOST_RATE})]


class Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a tenant may send; more is answered 429."""

    events_per_second: _Rate
    bytes_per_second: _Rate
    burst: Annotated[float, msgspec.Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": MOST_BURST})] = 2.0
    """Seconds of unused allowance that may be spent at once."""


class Tenant(Record):
    id: str
    name: str = ""
    plan: str = "standard"
    quota: Quota | None = None
    """None: no limit."""
    adapters: list[dict[str, Any]] = []
    """Declarations for `events.adapters`."""
    routes: list[dict[str, Any]] = []
    """Declarations for `events.routing`."""
    created: str = ""
    """RFC 3339 in UTC."""
    retention_days: int | None = None
    """How long after its receipt an event is kept; None: for ever."""

    def __post_init__(self) -> None:
        check_tenant(self.id)

    @classmethod
    def from_json(cls, value: bytes) -> Tenant:
        """Raises InvalidInput."""
        tenant: Tenant = super().from_json(value)
        return tenant

    @staticmethod
    def keep_days(record: bytes | None) -> int:
        """`retention_days` of a tenant's record as the event store takes it: 0 for ever."""
        return (Tenant.from_json(record).retention_days or 0) if record else 0


class Key(Record):
    """An API key without its text, which only its holder has."""

    id: str
    hash: str
    tenant: str
    roles: list[str]
    subject: str = ""
    """Who holds it."""
    created: str = ""
    last4: str = ""
    expires: float = 0
    """Seconds since 1970, of a key that was rotated; 0: never."""

    @classmethod
    def from_json(cls, value: bytes) -> Key:
        """Raises InvalidInput."""
        key: Key = super().from_json(value)
        return key


class RuleVersion(msgspec.Struct, frozen=True):
    version: int
    text: str
    format: Literal["grl", "json"] = "grl"
    created: str = ""


class RuleSet(Record):
    tenant: str
    name: str
    active: int = 0
    """The version in force; 0 for none."""
    versions: list[RuleVersion] = []

    @classmethod
    def from_json(cls, value: bytes) -> RuleSet:
        """Raises InvalidInput."""
        rules: RuleSet = super().from_json(value)
        return rules

    @property
    def in_force(self) -> RuleVersion | None:
        return next((version for version in self.versions if version.version == self.active), None)


class StoredModule(msgspec.Struct, frozen=True):
    """WebAssembly in the object store `modules`, under the name of its SHA-256."""

    sha256: str
    size: int
    """Bytes."""
    kind: Literal["module", "component"]
    imports: list[str]
    exports: list[str]


class Subscription(msgspec.Struct, frozen=True):
    """Which of the tenant's events a consumer is handed."""

    stream: Literal["results", "events"] = "results"
    """After the rules, or before them."""
    types: list[str] = []
    """Empty: all. One that ends with `*` stands for all that begin so."""
    sources: list[str] = []
    ordered: bool = False


class Limits(msgspec.Struct, frozen=True):
    """Of one call."""

    fuel: int = 1_000_000_000
    milliseconds: int = 1_000
    memory_bytes: int = 64 * 1024 * 1024
    output_bytes: int = 1024 * 1024
    """Of what it publishes and of the text of its error."""
    publishes: int = 100
    log_bytes: int = 64 * 1024
    """Lines of the log over it are dropped; the call goes on."""


class Consumer(Record):
    """A tenant's consumer; whoever runs it may keep more in the record."""

    tenant: str
    name: str
    durable: str = ""
    """Its durable consumer on RESULTS, shared by its replicas; empty: `<tenant>-<name>`."""
    module: StoredModule | None = None
    """None: somebody else runs it."""
    subscription: Subscription = Subscription()
    limits: Limits = Limits()
    instance: Literal["fresh", "reuse"] = "fresh"
    """A new instance for each event, or one for many."""
    signed_by: str = ""
    """Id of the tenant's signing key; empty: stored before signatures were asked for."""
    created: str = ""
    updated: str = ""

    @classmethod
    def from_json(cls, value: bytes) -> Consumer:
        """Raises InvalidInput."""
        consumer: Consumer = super().from_json(value)
        return consumer

    @property
    def durable_name(self) -> str:
        return self.durable or f"{self.tenant}-{self.name}"


class SigningKey(Record):
    """With which a tenant signs its modules; without the record it is revoked."""

    tenant: str
    id: str
    public: str
    """Base64 of the 32 bytes."""
    name: str = ""
    """For people."""
    created: str = ""

    @classmethod
    def from_json(cls, value: bytes) -> SigningKey:
        """Raises InvalidInput."""
        key: SigningKey = super().from_json(value)
        return key


class ConsumerStatus(Record):
    state: Literal["starting", "ready", "failed"]
    """`ready`: its module was loaded, and a process of it starts when events come."""
    replicas: int
    detail: str
    updated: str
    of: str = ""
    """`updated` of the record that this is about."""

    @classmethod
    def from_json(cls, value: bytes) -> ConsumerStatus:
        """Raises InvalidInput."""
        status: ConsumerStatus = super().from_json(value)
        return status


class SkippedMessages(Record):
    """Of a consumer that did not keep up, when the stream had no more room."""

    messages: int
    """Each of up to some hundred events."""
    first: str
    """When the first of them came."""
    last: str = ""

    @classmethod
    def from_json(cls, value: bytes) -> SkippedMessages:
        """Raises InvalidInput."""
        skipped: SkippedMessages = super().from_json(value)
        return skipped


def skipped_key(tenant: str, name: str) -> str:
    """Beside the status of the consumer, which somebody else writes."""
    return f"{tenant_key(tenant, name)}.skipped"


def tenant_key(tenant: str, name: str) -> str:
    """Key of a tenant's consumer, signing key, replay or reservation in its bucket."""
    return f"{tenant}.{name}"


def rule_key(tenant: str, name: str) -> str:
    """Key of a rule set in its bucket."""
    return tenant_key(tenant, name)


def hash_key(text: str) -> str:
    """What is kept of a key's text. Its 200 random bits need no salt and no slow hash."""
    return hashlib.sha256(text.encode()).hexdigest()


def new_text() -> str:
    """Of a key."""
    return _KEY_PREFIX + base64.b32encode(os.urandom(25)).decode().lower()


def new_key(
    tenant: str, roles: list[str], *, subject: str = "", clock: Clock = utc_now, identifier: str = "", text: str = ""
) -> tuple[str, Key]:
    """The text to show once and the record to keep."""
    text = text or new_text()
    identifier = identifier or new_id()
    return text, Key(
        id=identifier,
        hash=hash_key(text),
        tenant=check_tenant(tenant),
        roles=roles,
        subject=subject or identifier,
        created=format_time(clock()),
        last4=text[-4:],
    )
