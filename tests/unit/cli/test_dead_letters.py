"""The command line over the real API: dead letters seen, replayed and dropped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result
from eventrunner.access.identity import Identity
from eventrunner.cli.main import cli
from eventrunner.storage.mirror import Mirror
from nats.aio.client import Client
from support_api import served_api
from support_identity import sign


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Mirror]]:
    with served_api(tmp_path_factory.mktemp("letters")) as served:
        yield served


@pytest.fixture
def run(served: tuple[str, Mirror], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    url, registry = served
    monkeypatch.setenv("EVENTRUNNER_URL", url)
    monkeypatch.setenv("EVENTRUNNER_KEY", sign(Identity("alice", "acme", ("user",))))

    async def clear(client: Client) -> None:
        for stream in ("DEADLETTER", "EVENTS"):
            await client.jetstream().purge_stream(stream)

    registry.run(clear)
    return lambda *arguments: CliRunner().invoke(cli, ["dead-letters", *arguments])


@pytest.fixture
def fill(served: tuple[str, Mirror]) -> Callable[..., None]:
    def store(*ids: str, stage: str = "event-engine", type: str = "t", whole: bool = True, why: str = "why") -> None:
        async def publish(client: Client) -> None:
            for id in ids:
                event = {"specversion": "1.0", "id": id, "source": "/s", "type": type}
                letter = event | {"knativeerrordata": why, "knativeerrorcode": 422, "knativeerrorattempts": 1}
                headers = {"Eventrunner-Origin": "events.acme", "Eventrunner-Consumer": stage} if whole else None
                await client.jetstream().publish(
                    f"deadletter.{stage}.acme", json.dumps(letter).encode(), headers=headers
                )

        served[1].run(publish)

    return store


def listed(run: Callable[..., Result], *arguments: str) -> list[str]:
    answer = json.loads(run("list", "acme", "--json", *arguments).output)
    return [letter["event_id"] for letter in answer["dead_letters"]]


def test_letters_are_listed_with_how_many_there_are(run, fill):
    assert run("list", "acme").output == "0 shown of 0 in all\n"
    fill("1", "2", "3")
    fill("4", stage="analytics")
    shown = run("list", "acme", "--limit", "2").output
    assert "422 why" in shown
    assert shown.endswith("2 shown of 4 in all (analytics 1, event-engine 3)\n")
    assert listed(run, "--stage", "analytics") == ["4"]
    assert listed(run, "--to", "2020-01-01T00:00:00Z") == []
    assert listed(run, "--from", "2020-01-01T00:00:00+01:00") == ["1", "2", "3", "4"]


def test_a_reason_of_several_lines_is_one_in_the_list_and_whole_elsewhere(run, fill):
    why = "error while executing at wasm backtrace:\n    0: trap\n\nCaused by:\n    wasm trap: unreachable"
    fill("1", why=why)
    first, last = run("list", "acme").output.splitlines()
    assert first.endswith("422 error while executing at wasm backtrace: 0: trap Caused by: wasm trap: unreachable"[:84])
    assert last.startswith("1 shown of 1 in all")
    letter = json.loads(run("list", "acme", "--json").output)["dead_letters"][0]
    assert letter["reason"] == why
    assert why in run("show", "acme", letter["id"]).output


def test_one_is_shown_replayed_and_gone(run, fill, served):
    fill("1")
    letter = json.loads(run("list", "acme", "--json").output)["dead_letters"][0]
    assert "event-engine" in run("show", "acme", letter["id"]).output
    assert json.loads(run("show", "acme", letter["id"], "--json").output) == letter
    assert run("replay", "acme", letter["id"]).output == "1 replayed\n"
    assert "has no dead letter" in str(run("show", "acme", letter["id"]).exception)
    assert "has no dead letter" in str(run("replay", "acme", letter["id"]).exception)

    async def stored(client: Client) -> tuple[bytes, dict[str, str]]:
        message = await client.jetstream().get_last_msg("EVENTS", "events.acme")
        return message.data or b"", dict(message.headers or {})

    body, headers = served[1].run(stored)
    assert json.loads(body) == letter["event"] == {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
    assert (headers["Eventrunner-Only"], headers["Eventrunner-Attempts"]) == ("event-engine", "1")


def test_all_that_a_filter_fits_are_replayed_or_dropped(run, fill):
    fill("1", "2", type="a")
    fill("3", "4", type="b")
    fill("5", type="a", whole=False)
    replayed = run("replay", "acme", "--type", "a")
    assert "2 replayed, 1 cannot be" in replayed.output
    assert "which stream" in replayed.output
    assert listed(run) == ["3", "4", "5"]
    assert json.loads(run("drop", "acme", "--type", "a", "--json").output) == {"dropped": 1}
    assert "2 dropped" in run("drop", "acme", "--all").output
    assert listed(run) == []


def test_another_tenants_letters_are_refused(run):
    for arguments in (("list", "other"), ("drop", "other", "--all"), ("replay", "other", "1")):
        assert "403" in str(run(*arguments).exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", "acme"),
        ("drop", "acme"),
        ("drop", "acme", "1", "--all"),
        ("replay", "acme", "1", "--stage", "x"),
        ("list", "acme", "--limit", "0"),
        ("show", "acme"),
    ],
)
def test_wrong_use_exits_2(run, arguments):
    assert run(*arguments).exit_code == 2
