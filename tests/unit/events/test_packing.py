from __future__ import annotations

import pytest
from backports import zstd
from eventrunner.errors import BodyTooLarge, MalformedBody
from eventrunner.events.packing import bracket, join_packed, note, pack, packed_members, unpack, unpacked_size
from hypothesis import given
from hypothesis import strategies as st

LIMIT = 1_000_000


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=5))
def test_batches_are_joined_without_being_unpacked(parts: list[bytes]) -> None:
    batches = [bracket(pack(part)) for part in parts]
    members = [packed_members(batch) for batch in batches]
    joined = bracket(join_packed(item for item in members if item is not None))
    assert unpack(joined, LIMIT) == b"[" + b",".join(parts) + b"]"


def test_any_zstd_decoder_reads_a_packed_batch() -> None:
    assert zstd.decompress(bracket(pack(b'{"a":1}'))) == b'[{"a":1}]'


def test_what_others_packed_has_no_members_to_take_out() -> None:
    assert packed_members(zstd.compress(b'[{"a":1}]')) is None
    assert packed_members(b"") is None


def test_a_bomb_is_refused_at_the_limit() -> None:
    with pytest.raises(BodyTooLarge):
        unpack(pack(bytes(50_000_000)), LIMIT)
    assert unpack(pack(bytes(LIMIT)), LIMIT) == bytes(LIMIT)
    with pytest.raises(BodyTooLarge):
        unpack(pack(bytes(LIMIT)) + pack(b"x"), LIMIT)


@pytest.mark.parametrize("body", [b"not packed", bracket(pack(b"abc" * 100))[:-1], pack(b"abc") + b"rest"])
def test_what_is_not_whole_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        unpack(body, LIMIT)


def test_the_size_is_known_before_unpacking() -> None:
    assert unpacked_size(pack(b"x" * 5000)) == 5000
    assert unpacked_size(pack(b"x" * 5000) + note(b"abc") + pack(b"x" * 20)) == 5020
    assert unpacked_size(b"not packed") == len(b"not packed")
