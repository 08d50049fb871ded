"""`eventrunner consumer run`: events from a file, from standard input and from the live tail through a guest."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from eventrunner.access.identity import Identity
from eventrunner.cli import consumer_run
from eventrunner.cli.main import cli
from eventrunner.events import Event, encode_event
from nats.aio.client import Client
from support_api import served_api
from support_guests import component_guest, require_toolchain
from support_identity import sign

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as it is after its build."""
    require_toolchain()
    made = tmp_path_factory.mktemp("project")
    (made / "build").mkdir()
    (made / "build" / "consumer.wasm").write_bytes(component_guest())
    return made


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Run:
    def call(*arguments: str, input: str | None = None) -> Result:
        cache = ("--module-cache", str(tmp_path / "cache"))
        return CliRunner().invoke(cli, ["consumer", "run", *arguments, *cache], input=input)

    return call


def event(word: str, **members: Any) -> dict[str, Any]:
    """That has the guest do what the word says."""
    return {"specversion": "1.0", "id": "1", "source": "/s", "type": f"order.{word}", **members}


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_what_the_guest_did_is_shown(folder: Path, run: Run) -> None:
    (folder / "event.json").write_text(json.dumps(event("count"), indent=2))
    shown = run(str(folder))
    first, published, total = shown.stdout.splitlines()
    assert (shown.exit_code, first.startswith("order.count 1: handled, ")) == (0, True)
    assert published == "  published to results.acme.order.count: 1"
    assert total.startswith("1 handed over, 0 failed; ")
    same = run(str(folder / "build" / "consumer.wasm"), "--json", "--name", "counts", "--stream", "events")
    (found,) = lines(same)
    assert (found["outcome"], found["reason"], found["logs"]) == ("handled", None, [])
    assert found["fuel"] > 0 < found["memory_bytes"]
    (message,) = found["published"]
    assert message["subject"] == "events.acme.order.count"
    assert (message["event"]["data"], message["event"]["causeconsumer"]) == (1, "counts")


@pytest.mark.parametrize("form", ["array", "indented array", "lines"])
def test_events_may_be_an_array_or_lines(folder: Path, run: Run, form: str) -> None:
    events = [event("count", id=str(number), tenantid="shop") for number in range(3)]
    texts = {
        "array": json.dumps(events),
        "indented array": json.dumps(events, indent=1),
        "lines": "\n\n".join(map(json.dumps, events)),
    }
    found = lines(run(str(folder), "--events", "-", "--json", input=texts[form]))
    assert [(item["id"], item["published"][0]["subject"]) for item in found] == [
        (str(number), "results.shop.order.count") for number in range(3)
    ]


def test_instances_are_fresh_unless_said_otherwise(folder: Path, run: Run) -> None:
    text = "\n".join(json.dumps(event("count")) for _ in range(2))

    def counted(*arguments: str) -> list[int]:
        found = lines(run(str(folder), "--events", "-", "--json", *arguments, input=text))
        return [item["published"][0]["event"]["data"] for item in found]

    assert counted() == [1, 1]
    assert counted("--instance", "reuse") == [1, 2]
    (folder / "project.json").write_text('{"language": "c", "tools": [], "instance": "reuse"}')
    assert counted() == [1, 2]
    assert counted("--instance", "fresh") == [1, 1]
    (folder / "project.json").unlink()


def test_what_fails_is_said_and_exits_with_1(folder: Path, run: Run) -> None:
    def failed(*arguments: str, **of: Any) -> tuple[str, str]:
        result = run(str(folder), "--events", "-", "--json", *arguments, input=json.dumps(event(**of)))
        assert result.exit_code == 1
        (found,) = lines(result)
        assert found["published"] == []
        return found["outcome"], found["reason"]

    refused = failed(word="refuse")
    assert (refused[0], json.loads(refused[1])["type"]) == ("refused", "order.refuse")
    assert failed("--fuel", "20000", word="loop") == ("over a limit", "over the limit fuel = 20000")
    assert failed(word="trap")[0] == "trapped"
    outcome, reason = failed("--stream", "events", word="count", causehops=16)
    assert (outcome, "a loop" in reason) == ("unpublishable", True)
    shown = run(str(folder), "--events", "-", "--fuel", "100000000000", input=json.dumps(event("loop")))
    assert "  over the limit milliseconds = 1000\n1 handed over, 1 failed" in shown.output


def test_of_very_many_lines_of_log_the_first_are_shown_and_the_others_counted(folder: Path, run: Run) -> None:
    file = folder / "chatty.json"
    file.write_text("\n".join(json.dumps(event("log", id=str(number))) for number in range(207)))
    shown = run(str(folder), "--events", str(file)).output
    assert shown.count("\n  warn  guest: ") == 200
    assert "\n7 more lines were logged; --json shows all\n" in shown
    assert [len(item["logs"]) for item in lines(run(str(folder), "--events", str(file), "--json"))] == [1] * 207


def test_a_load_that_takes_long_is_told_once_where_there_is_no_terminal(
    folder: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "event.json").write_text(json.dumps(event("count")))
    assert "loading" not in run(str(folder), "--json").stderr
    monkeypatch.setattr(consumer_run, "_SILENT_SECONDS", 0.0)
    (tmp_path / "cache").rename(tmp_path / "before")
    assert run(str(folder), "--json").stderr.count("loading ") == 1


def test_repeated_events_are_summed_up(folder: Path, run: Run) -> None:
    shown = run(str(folder), "--events", "-", "--repeat", "50", input=json.dumps(event("count")))
    assert shown.stdout.startswith("50 handed over, 0 failed; ")
    assert shown.stdout.count("\n") == 1


def test_wrong_events_are_named_by_their_number(folder: Path, run: Run) -> None:
    text = json.dumps(event("count")) + "\n" + json.dumps({**event("count"), "id": ""})
    assert str(run(str(folder), "--events", "-", input=text).exception).startswith(
        "Event 2: Not a valid CloudEvent: id "
    )
    assert run(str(folder), "--events", "-", input="\n").stdout == "no events\n"
    assert run(str(folder), "--type", "a").exit_code == 2


def test_a_project_that_is_not_built_is_told_apart(tmp_path: Path, run: Run) -> None:
    assert "`eventrunner consumer build` makes it" in str(run(str(tmp_path)).exception)
    (tmp_path / "some.wasm").write_bytes(component_guest())
    assert "--events FILE" in str(run(str(tmp_path / "some.wasm")).exception)


def test_live_events_are_handed_over_as_they_come(folder: Path, run: Run, tmp_path: Path) -> None:
    made = Event(id="1", source="/s", type="order.count", tenantid="acme", usagein=3)
    made.receivedtime = "2026-01-01T00:00:00Z"
    stop = threading.Event()

    async def publish(client: Client) -> None:
        await client.jetstream().publish("results.acme", encode_event(made))

    with served_api(tmp_path / "api") as (url, registry), pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENTRUNNER_URL", url)
        patch.setenv("EVENTRUNNER_KEY", sign(Identity("alice", "acme", ("user",))))

        def send() -> None:
            while not stop.wait(0.1):
                registry.run(publish)

        sender = threading.Thread(target=send)
        sender.start()
        result = run(str(folder), "--live", "acme", "--limit", "2", "--json")
        stop.set()
        sender.join()
    assert (result.exit_code, result.exception) == (0, None)
    assert [item["published"][0]["event"]["data"] for item in lines(result)] == [1, 1]
