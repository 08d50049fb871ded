"""A batch is taken only from who was given the name of this very sink, and from whom it knows."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from eventrunner.access.identity import AUDIENCE, Identity, Signer, Verifier, make_keys
from eventrunner.access.senders import SOURCE_ISSUER, SourceSigner, audience_of, sender_check
from eventrunner.errors import ConfigurationError, Unauthenticated
from eventrunner.ingest.door import Door
from eventrunner.settings import Settings
from eventrunner.stage import Outcomes, Stage
from flask import Flask, request
from flask.testing import FlaskClient
from functions_framework import create_app

NOW = datetime(2026, 10, 1, tzinfo=UTC)
KEYS = make_keys("source")
SOURCE = SourceSigner(KEYS)
SINK = "serving.knative.dev/service/eventrunner/event-engine"
OTHER = "serving.knative.dev/service/eventrunner/analytics"
ADMIN = Identity("root", "", ("admin",))

CLUSTER = "https://kubernetes.default.svc"
TRIGGER = "system:serviceaccount:knative-eventing:trigger"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def cluster_keys() -> str:
    members = jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True)
    return json.dumps({"keys": [{**members, "kid": "cluster", "alg": "RS256", "use": "sig"}]})


def service_account(**changes: Any) -> str:
    """A token as Kubernetes' TokenRequest makes one."""
    now = int(time.time())
    claims = {"aud": [SINK], "exp": now + 3600, "iat": now, "nbf": now, "iss": CLUSTER, "sub": TRIGGER} | changes
    return "Bearer " + jwt.encode(claims, RSA, "RS256", headers={"kid": "cluster"})


EVENTING = {"eventing_jwks": cluster_keys(), "eventing_issuer": CLUSTER, "eventing_subjects": f"other, {TRIGGER}"}


def check(header: str | None, seconds: float | None = None, **settings: str) -> None:
    def clock() -> datetime:
        return datetime.now(UTC) if seconds is None else NOW + timedelta(seconds=seconds)

    checked = sender_check(Settings(sink_jwks=SOURCE.public_keys, sink_audience=SINK, **settings), clock)  # type: ignore[arg-type]
    assert checked is not None
    checked(header)


def signed(audience: str = SINK, keys: str = KEYS, issuer: str = SOURCE_ISSUER, seconds: float = 0) -> str:
    signer = Signer(keys, lambda: NOW + timedelta(seconds=seconds), issuer=issuer)
    return "Bearer " + signer.sign(Identity("source", "", ()), audience)


def test_the_sources_token_for_this_sink_is_taken() -> None:
    check(SOURCE.header(SINK))
    check(signed(), 1)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer a.b.c",
        f"Basic {signed()}",
        signed(OTHER),
        signed(SINK + "-2"),
        signed(AUDIENCE),
        signed(keys=make_keys("source")),
        signed(keys=make_keys("another")),
        signed(issuer="eventrunner-gateway"),
        signed(seconds=-310),
        signed(seconds=3600),
        "Bearer " + Signer(KEYS, lambda: NOW).sign(ADMIN),
        "Bearer " + Signer(make_keys("gateway"), lambda: NOW).sign(ADMIN),
        service_account(),
    ],
)
def test_nobody_else_is(header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        check(header, 1)


def test_a_sinks_token_is_nothing_at_the_api() -> None:
    """Not even where somebody uses the same keys for both."""
    for audience in (SINK, AUDIENCE):
        with pytest.raises(Unauthenticated):
            Verifier(SOURCE.public_keys).verify(SOURCE.header(audience))


def test_a_token_is_made_once_for_minutes_and_for_each_sink() -> None:
    assert SOURCE.header(SINK) is not None
    assert SOURCE.header(SINK) == SOURCE.header(SINK) != SOURCE.header(OTHER)


def test_knatives_own_senders_are_taken_where_that_is_configured() -> None:
    check(service_account(), **EVENTING)
    check(SOURCE.header(SINK), **EVENTING)
    checked = sender_check(Settings(sink_audience=SINK, **EVENTING))  # type: ignore[arg-type]
    assert checked is not None
    checked(service_account())
    with pytest.raises(Unauthenticated):
        checked(SOURCE.header(SINK))


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [OTHER]},
        {"aud": ["https://kubernetes.default.svc"]},
        {"sub": "system:serviceaccount:default:mallory"},
        {"iss": "https://evil.example"},
        {"iss": SOURCE_ISSUER},
        {"exp": 1},
    ],
)
def test_other_service_accounts_are_not(changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        check(service_account(**changes), **EVENTING)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(sink_jwks=SOURCE.public_keys),
        Settings(sink_jwks="{", sink_audience=SINK),
        Settings(sink_jwks="/nowhere/jwks.json", sink_audience=SINK),
        Settings(sink_jwks=make_keys("private"), sink_audience=SINK),
        Settings(eventing_jwks=cluster_keys(), sink_audience=SINK, eventing_issuer=CLUSTER),
        Settings(eventing_jwks=cluster_keys(), sink_audience=SINK, eventing_subjects=TRIGGER),
    ],
)
def test_wrong_settings_are_answered_like_a_wrong_token(settings: Settings) -> None:
    """And never with a 5xx, which an event may have to answer for."""
    checked = sender_check(settings)
    assert checked is not None
    for header in (service_account(), SOURCE.header(SINK)):
        with pytest.raises(Unauthenticated):
            checked(header)


def test_a_broker_of_the_cluster_may_send_to_ingest_as_an_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**EVENTING, "sink_audience": SINK, "gateway_jwks": SOURCE.public_keys}.items():
        monkeypatch.setenv(f"EVENTRUNNER_{name.upper()}", value)
    monkeypatch.setattr("eventrunner.ingest.door.configure_logging", lambda *_: None)
    door = Door("ingest-http")
    assert asyncio.run(door.identify(service_account())) == Identity(TRIGGER, "", ("admin", "event_publisher"))
    for header in (service_account(sub="mallory"), service_account(aud=[OTHER]), SOURCE.header(SINK), None):
        with pytest.raises(Unauthenticated):
            asyncio.run(door.identify(header))


def test_without_a_key_set_anybody_may_send() -> None:
    assert sender_check(Settings(sink_audience=SINK)) is None


def test_a_source_needs_a_private_key(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(KEYS)
    check(SourceSigner(str(tmp_path / "keys")).header(SINK))
    for wrong in (SOURCE.public_keys, str(tmp_path / "nothing")):
        with pytest.raises(ConfigurationError):
            SourceSigner(wrong)
    assert '"d"' not in SOURCE.public_keys


def test_an_audience_is_made_as_knative_makes_it() -> None:
    assert audience_of("serving.knative.dev/v1", "Service", "eventrunner", "event-engine") == SINK
    assert audience_of("eventing.knative.dev/v1", "Broker", "ns", "default") == "eventing.knative.dev/broker/ns/default"


def client(monkeypatch: pytest.MonkeyPatch, **settings: str) -> FlaskClient:
    for name, value in settings.items():
        monkeypatch.setenv(f"EVENTRUNNER_{name.upper()}", value)
    monkeypatch.setattr("eventrunner.stage.function.configure_logging", lambda *_: None)
    stage = Stage("test", lambda _: lambda batch: Outcomes(results=list(batch.events)))
    app = Flask(__name__)
    app.add_url_rule("/", "main", lambda: stage.main(request), methods=["GET", "POST"])
    app.add_url_rule("/healthz", "health", lambda: stage.main(request))
    return app.test_client()


BATCH = {"data": b"[]", "content_type": "application/cloudevents-batch+json"}


def test_a_stage_answers_401_before_it_looks_at_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = client(monkeypatch, sink_jwks=SOURCE.public_keys, sink_audience=SINK)
    assert stage.post("/", headers={"Authorization": SOURCE.header(SINK)}, **BATCH).status_code == 204
    for headers in ({}, {"Authorization": SOURCE.header(OTHER)}):
        refused = stage.post("/", data=b"[", content_type="text/plain", headers=headers)
        assert (refused.status_code, refused.content_type) == (401, "application/problem+json")
        assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert stage.get("/healthz").status_code == 200


def test_every_function_that_a_source_feeds_checks_its_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[3]
    monkeypatch.setenv("EVENTRUNNER_SINK_JWKS", SOURCE.public_keys)
    for name in ("analytics", "event_engine", "event_runner", "metering", "replayer"):
        monkeypatch.setenv("EVENTRUNNER_SINK_AUDIENCE", f"serving.knative.dev/service/eventrunner/{name}")
        app = create_app("main", str(root / "functions" / name / "main.py"))
        assert app.test_client().post("/", **BATCH).status_code == 401, name


def test_a_new_key_is_taken_as_soon_as_it_is_in_the_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old, new = make_keys("old"), make_keys("new")
    both = json.dumps({"keys": [json.loads(keys)["keys"][0] for keys in (old, new)]})
    file = tmp_path / "jwks.json"
    file.write_text(SourceSigner(old).public_keys)
    stage = client(monkeypatch, sink_jwks=str(file), sink_audience=SINK)

    def status(keys: str) -> int:
        return stage.post("/", headers={"Authorization": SourceSigner(keys).header(SINK)}, **BATCH).status_code

    assert status(old) == 204
    # First the set, then who signs: there is no moment in which a batch is refused.
    file.write_text(SourceSigner(both).public_keys)
    time.sleep(2.1)
    assert [status(new), status(old), status(new)] == [204, 204, 204]
    file.write_text(SourceSigner(new).public_keys)
    assert status(new) == 204
