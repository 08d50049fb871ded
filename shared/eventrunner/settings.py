"""The one reader of the environment. A function asks for what it needs here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

from eventrunner.errors import ConfigurationError

__all__ = ["Settings"]

_PREFIX = "EVENTRUNNER_"


@dataclass(frozen=True, slots=True)
class Settings:
    """Each field is read from `EVENTRUNNER_` and its name in upper case; the defaults fit one machine."""

    nats_url: str = "nats://127.0.0.1:4222"
    """One or several servers, separated by commas."""
    store_url: str = "sqlite:///eventrunner.db"
    """`sqlite:///relative`, `sqlite:////absolute` or `cassandra://host[:port][,host…]/keyspace`."""
    clickhouse_url: str = "http://127.0.0.1:8123/eventrunner"
    """`http(s)://[user:password@]host:port/database`."""
    gateway_jwks: str = ""
    """Public key set of the gateway, with which functions check who came through it: a URL, a path, or the JWKS itself.
    Empty: no identity is accepted."""
    source_keys: str = ""
    """Private key set (its path, or the JWKS itself) with which the adapter of sources signs what it sends to sinks.
    Empty: it signs nothing."""
    sink_jwks: str = ""
    """Public key set of the adapter of sources, with which a function checks who sends it batches: a URL, a path, or
    the JWKS itself. Empty: anybody who reaches it may, unless `eventing_jwks` is set."""
    sink_audience: str = ""
    """What the tokens of those who send to this function must name: `<group>/<kind>/<namespace>/<name>`, lower case."""
    eventing_jwks: str = ""
    """Key set of the cluster's OIDC issuer, whose tokens Knative's own sources, brokers and triggers send. Empty: none
    are accepted."""
    eventing_issuer: str = ""
    """Value of `iss` in them."""
    eventing_subjects: str = ""
    """Values of `sub` that are let in, separated by commas: any pod of a cluster can get a token for any audience."""
    opa_url: str = ""
    """URL of the policy's rule in OPA, such as `http://opa:8181/v1/data/eventrunner/authz/allow`. Empty: the authorizer
    decides by the engine in its own process."""
    jwks: str = ""
    """Key set of the identity provider whose tokens are accepted beside API keys: a URL, a path, or the JWKS itself.
    Empty: none are."""
    jwt_issuers: str = ""
    """Values of `iss` that are believed, separated by commas."""
    jwt_audience: str = "eventrunner-api"
    """Value of `aud` that a token must name."""
    stream_replicas: int = 0
    """Overrides `replicas` of every stream manifest; 0 leaves the manifest's number."""
    max_event_bytes: int = 1024 * 1024
    max_body_bytes: int = 8 * 1024 * 1024
    """Limit of a body that brings events, compressed or not; those of most other calls have `stage.body.BODY_LIMIT`."""
    max_module_bytes: int = 32 * 1024 * 1024
    """Limit of a consumer's WebAssembly."""
    max_consumers: int = 100
    """That one tenant may have."""
    max_consumer_bytes: int = 256 * 1024 * 1024
    """Of the WebAssembly of one tenant's consumers, all together."""
    max_rule_sets: int = 100
    """That one tenant, or the platform, may have."""
    max_rule_bytes: int = 8 * 1024 * 1024
    """Of one tenant's rule sets with their versions, all together."""
    max_idempotency_keys: int = 1000
    """That requests of one tenant may have within a day."""
    max_held_bytes: int = 128 * 1024 * 1024
    """Of request bodies that one ingest process or gateway works on at once; what is over it is answered 503."""
    max_calls: int = 128
    """Calls that a process of ingest over gRPC takes at once, streams among them, half of them of one connection. Each
    holds one message of at most `max_body_bytes`, so that their product is the memory that they can take."""
    max_message_events: int = 500
    """Events that ingest puts into one JetStream message."""
    max_message_bytes: int = 1024 * 1024
    consumer_desk_url: str = ""
    """Where a process of tenant-consumer gets its record, keys and module: the adapter of sources."""
    consumer_namespace: str = "eventrunner"
    """Namespace of the Knative Services of tenants' consumers."""
    consumer: str = ""
    """`<tenant>/<name>` of the consumer that a process of tenant-consumer runs."""
    module_cache: str = ""
    """Folder of this user alone in which native code of consumers' modules is kept; empty: none is."""
    metrics_port: int = 0
    """Where ingest over gRPC, which has no other port for HTTP, serves /metrics; 0 for nowhere."""
    log_level: str = "info"
    url: str = ""
    """Base URL that the command line talks to."""
    key: str = ""
    """API key of the command line."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Raises ConfigurationError that names every variable with a wrong value."""
        environ = os.environ if environ is None else environ
        values: dict[str, str | int] = {}
        wrong: list[str] = []
        for item in fields(cls):
            name = _PREFIX + item.name.upper()
            text = environ.get(name)
            if text is None:
                continue
            if item.type != "int":
                values[item.name] = text
            elif text.isascii() and text.isdigit():
                values[item.name] = int(text)
            else:
                wrong.append(f"{name} must be a whole number, not {text!r}")
        if wrong:
            raise ConfigurationError("; ".join(wrong) + ".")
        return cls(**values)  # type: ignore[arg-type]
