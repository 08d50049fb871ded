from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from eventrunner.access.identity import Identity
from eventrunner.access.keys import check_roles, hash_key, identity_of, make_key
from eventrunner.errors import InvalidInput


def test_a_key_is_200_random_bits_and_its_record_does_not_hold_them():
    text, record = make_key("acme", ["user"])
    assert re.fullmatch(r"er_[a-z2-7]{40}", text)
    assert record.hash == hash_key(text)
    assert text.encode() not in record.to_json()
    assert text[:-4] not in record.to_json().decode()
    assert text.endswith(record.last4)


def test_no_two_keys_are_the_same():
    assert len({make_key("acme", ["user"])[0] for _ in range(100)}) == 100


def test_a_record_names_its_holder():
    _, record = make_key(
        "acme", ["user", "event_publisher"], subject="alice", clock=lambda: datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert identity_of(record) == Identity("alice", "acme", ("user", "event_publisher"))
    assert record.created == "2026-01-01T00:00:00.000000Z"


def test_a_holder_without_a_name_is_known_by_the_keys_id():
    _, record = make_key("acme", ["user"])
    assert identity_of(record).subject == record.id


def test_roles_are_kept_once_each():
    assert check_roles(["user", "user", "admin"]) == ("user", "admin")


def test_every_unknown_role_is_named():
    with pytest.raises(InvalidInput) as caught:
        check_roles(["user", "root", "god"])
    assert [item.field for item in caught.value.fields] == ["roles[1]", "roles[2]"]


def test_a_key_needs_a_role():
    with pytest.raises(InvalidInput):
        check_roles([])
