from __future__ import annotations

import gzip

import pytest
from backports import zstd
from eventrunner.errors import BodyTooLarge, MalformedBody, UnsupportedMedia
from eventrunner.ingest.body import decompress
from hypothesis import given
from hypothesis import strategies as st


@given(st.binary(max_size=500))
def test_both_encodings_give_the_body_back(body: bytes) -> None:
    assert decompress(gzip.compress(body), "gzip", 500) == body
    assert decompress(zstd.compress(body), "zstd", 500) == body
    assert decompress(body, "", 500) == body


def test_gzip_members_follow_each_other() -> None:
    assert decompress(gzip.compress(b"a") + gzip.compress(b"b"), "GZIP", 100) == b"ab"


@pytest.mark.parametrize(("pack", "encoding"), [(gzip.compress, "gzip"), (zstd.compress, "zstd")])
def test_a_bomb_is_refused_at_the_limit(pack, encoding: str) -> None:  # type: ignore[no-untyped-def]
    bomb = pack(bytes(50_000_000))
    assert len(bomb) < 100_000
    with pytest.raises(BodyTooLarge):
        decompress(bomb, encoding, 1_000_000)


@pytest.mark.parametrize("body", [b"not packed", gzip.compress(b"abc" * 100, mtime=0)[:-6]])
def test_a_broken_gzip_body_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        decompress(body, "gzip", 1000)


def test_zstd_frames_follow_each_other() -> None:
    assert decompress(zstd.compress(b"a") + zstd.compress(b"b"), "zstd", 100) == b"ab"


@pytest.mark.parametrize("body", [b"not packed", zstd.compress(b"abc" * 100)[:-6]])
def test_a_broken_zstd_body_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        decompress(body, "zstd", 1000)


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(UnsupportedMedia, match="br"):
        decompress(b"", "br", 1000)
