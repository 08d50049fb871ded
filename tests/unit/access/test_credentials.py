"""Which of a request's headers names its caller."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from eventrunner.access.access_rules import Credential
from eventrunner.access.credentials import ANONYMOUS, Authenticator
from eventrunner.access.identity import Identity
from eventrunner.access.key_uses import KeyUses
from eventrunner.access.keys import make_key
from eventrunner.errors import Unauthenticated, Unavailable
from multidict import CIMultiDict

ALL = (Credential.BEARER_KEY, Credential.HEADER_KEY, Credential.TOKEN)
ACME, ACME_RECORD = make_key("acme", ["user"], subject="alice")
GLOBEX, GLOBEX_RECORD = make_key("globex", ["admin"], subject="bob")
ALICE = Identity("alice", "acme", ("user",))


@pytest.fixture
def bucket() -> dict[str, bytes]:
    return {record.hash: record.to_json() for record in (ACME_RECORD, GLOBEX_RECORD)}


@pytest.fixture
def authenticator(bucket) -> Authenticator:
    return Authenticator(bucket.get)


@pytest.mark.parametrize(
    "headers", [{"Authorization": f"Bearer {ACME}"}, {"authorization": f"bearer {ACME}"}, {"X-API-KEY": ACME}]
)
def test_a_key_is_read_from_either_header(authenticator, headers):
    assert authenticator.identify(CIMultiDict(headers), ALL) == ALICE


def test_authorization_goes_before_x_api_key(authenticator):
    headers = CIMultiDict({"X-Api-Key": GLOBEX, "Authorization": f"Bearer {ACME}"})
    assert authenticator.identify(headers, ALL) == ALICE


def test_a_wrong_key_is_not_made_good_by_another(authenticator):
    headers = CIMultiDict({"Authorization": "Bearer er_" + "a" * 40, "X-Api-Key": ACME})
    with pytest.raises(Unauthenticated):
        authenticator.identify(headers, ALL)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": ACME},
        {"Authorization": f"Basic {ACME}"},
        {"Authorization": f"Bearer  {ACME}"},
        {"Authorization": f"Bearer {ACME} "},
        {"Authorization": f"Bearer {ACME.upper()}"},
        {"Authorization": "Bearer " + ACME_RECORD.hash},
        {"Authorization": "Bearer " + ACME.removeprefix("er_")},
        {"Authorization": "Bearer a.b.c"},
        {"X-Api-Key": ACME_RECORD.hash},
        {"X-Api-Key": f"Bearer {ACME}"},
        {"X-Api-Key": "*"},
        {"X-Api-Key": "é\udcff"},
    ],
)
def test_anything_else_names_nobody(authenticator, headers):
    with pytest.raises(Unauthenticated):
        authenticator.identify(CIMultiDict(headers), ALL)


def test_only_the_rules_credentials_count(authenticator):
    with pytest.raises(Unauthenticated):
        authenticator.identify(CIMultiDict({"X-Api-Key": ACME}), (Credential.BEARER_KEY, Credential.TOKEN))


def test_a_public_rule_asks_nobody(authenticator):
    assert authenticator.identify(CIMultiDict({"X-Api-Key": ACME}), (Credential.NONE,)) == ANONYMOUS


def test_a_deleted_key_stops_working_at_once(authenticator, bucket):
    headers = CIMultiDict({"X-Api-Key": ACME})
    assert authenticator.identify(headers, ALL) == ALICE
    del bucket[ACME_RECORD.hash]
    with pytest.raises(Unauthenticated):
        authenticator.identify(headers, ALL)


def test_who_sends_a_deleted_key_is_told_nothing_that_the_log_is_told(authenticator, bucket):
    headers = CIMultiDict({"X-Api-Key": ACME})
    authenticator.identify(headers, ALL)
    del bucket[ACME_RECORD.hash]
    for _ in range(2):
        with pytest.raises(Unauthenticated) as caught:
            authenticator.identify(headers, ALL)
        assert caught.value.key == ACME_RECORD.id
        assert ACME_RECORD.id not in str(caught.value.problem())


def test_a_changed_record_counts_at_once(authenticator, bucket):
    headers = CIMultiDict({"X-Api-Key": ACME})
    assert authenticator.identify(headers, ALL) == ALICE
    bucket[ACME_RECORD.hash] = ACME_RECORD.to_json().replace(b'"user"', b'"event_publisher"')
    assert authenticator.identify(headers, ALL).roles == ("event_publisher",)


def test_a_record_that_cannot_be_read_lets_nobody_in(authenticator, bucket):
    bucket[ACME_RECORD.hash] = b"{}"
    with pytest.raises(Unauthenticated):
        authenticator.identify(CIMultiDict({"X-Api-Key": ACME}), ALL)


def test_a_registry_that_is_away_is_not_a_wrong_key():
    def away(_: str) -> bytes | None:
        raise Unavailable("NATS is away.")

    with pytest.raises(Unavailable):
        Authenticator(away).identify(CIMultiDict({"X-Api-Key": ACME}), ALL)


def test_a_rotated_key_works_until_its_grace_is_over():
    text, record = make_key("acme", ["user"], subject="alice")
    record.expires = 1000.0
    now = datetime.fromtimestamp(999, UTC)
    authenticator = Authenticator({record.hash: record.to_json()}.get, clock=lambda: now)
    assert authenticator.identify(CIMultiDict({"X-Api-Key": text}), ALL) == ALICE
    now = datetime.fromtimestamp(1000, UTC)
    with pytest.raises(Unauthenticated, match="rotated"):
        authenticator.identify(CIMultiDict({"X-Api-Key": text}), ALL)


def test_the_use_of_a_key_is_noted_once_a_minute_and_that_of_a_wrong_one_never(bucket):
    noted = []
    uses = KeyUses(lambda key, moment: noted.append((key, moment)), lambda: datetime(2026, 1, 1, tzinfo=UTC))
    authenticator = Authenticator(bucket.get, uses=uses)
    for _ in range(3):
        authenticator.identify(CIMultiDict({"X-Api-Key": ACME}), ALL)
    with pytest.raises(Unauthenticated):
        authenticator.identify(CIMultiDict({"X-Api-Key": "er_wrong"}), ALL)
    assert noted == [(ACME_RECORD.id, b"2026-01-01T00:00:00.000000Z")]
