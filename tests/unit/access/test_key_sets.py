"""Keys that are fetched: nobody waits for them but who needs a key that has yet to come."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator

import pytest
from eventrunner.access.identity import Signer, make_keys
from eventrunner.access.key_sets import KeysComing, KeySet, await_keys, wait_for_keys
from eventrunner.errors import ConfigurationError, Unavailable
from support_key_server import KeyServer, key_server

OLD, NEW = (Signer(make_keys(kid)).public_keys for kid in ("old", "new"))
BOTH = json.dumps({"keys": [json.loads(keys)["keys"][0] for keys in (OLD, NEW)]})


class Watch:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server(OLD) as server:
        yield server


def has(keys: KeySet, kid: str) -> bool:
    """As a thread asks."""
    return wait_for_keys(lambda: keys.find(kid)) is not None


def until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.alone
def test_who_needs_the_first_keys_waits_and_nobody_else(server: KeyServer) -> None:
    server.seconds = 0.5

    async def body() -> None:
        keys = KeySet(server.url)
        waiting = [asyncio.create_task(await_keys(lambda: keys.find("old"))) for _ in range(5)]
        longest, before = 0.0, time.monotonic()
        while not all(task.done() for task in waiting):
            await asyncio.sleep(0.01)
            longest, before = max(longest, time.monotonic() - before), time.monotonic()
        assert all(task.result() is not None for task in waiting)
        assert longest < 0.25

    asyncio.run(body())
    assert server.asked == 1


@pytest.mark.alone
def test_the_old_keys_serve_while_the_new_ones_come(server: KeyServer, watch: Watch) -> None:
    keys = KeySet(server.url, watch)
    assert has(keys, "old")
    server.keys, server.seconds = NEW, 0.3
    watch.now += 250
    started = time.monotonic()
    assert keys.find("old") is not None
    assert keys.find("old") is not None
    assert time.monotonic() - started < 0.2
    until(lambda: keys.find("old") is None)
    assert has(keys, "new")
    assert server.asked == 2


def test_keys_that_nobody_asked_for_are_read_before_they_are_believed_again(server: KeyServer, watch: Watch) -> None:
    keys = KeySet(server.url, watch)
    assert has(keys, "old")
    server.keys, server.seconds = NEW, 0.2
    watch.now += 3600
    with pytest.raises(KeysComing):
        keys.find("old")
    assert not has(keys, "old")


def test_a_server_that_hangs_takes_no_known_key_away(server: KeyServer, watch: Watch) -> None:
    keys = KeySet(server.url, watch)
    assert has(keys, "old")
    server.seconds = 5
    watch.now += 3600
    with pytest.raises(KeysComing):
        keys.find("old")
    watch.now += 2.1
    assert keys.find("old") is not None


def test_a_new_key_is_found_at_once_and_made_up_ones_ask_seldom(server: KeyServer, watch: Watch) -> None:
    keys = KeySet(server.url, watch)
    assert has(keys, "old")
    server.keys = BOTH
    watch.now += 3
    assert has(keys, "new")
    for number in range(50):
        assert not has(keys, f"made-up-{number}")
    assert server.asked == 2
    watch.now += 2.1
    assert not has(keys, "made-up")
    assert server.asked == 3


def test_without_its_server_a_set_is_unavailable_and_known_keys_stay(server: KeyServer, watch: Watch) -> None:
    keys = KeySet(server.url, watch)
    server.keys = ""
    for _ in range(5):
        with pytest.raises(Unavailable, match="cannot be read just now"):
            has(keys, "old")
    assert server.asked == 1
    watch.now += 2.1
    server.keys = OLD
    assert has(keys, "old")
    server.keys = ""
    watch.now += 3600
    assert has(keys, "old")


def test_what_is_no_key_set_says_so(server: KeyServer) -> None:
    server.keys = "<html>"
    with pytest.raises(ConfigurationError, match="not a JWKS"):
        has(KeySet(server.url), "old")


def test_an_answer_without_an_end_is_given_up() -> None:
    with key_server(OLD) as server:
        server.keys = "x" * 3_000_000
        with pytest.raises(Unavailable):
            has(KeySet(server.url), "old")
