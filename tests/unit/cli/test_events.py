"""The command line over the real API: stored events listed, shown and traced; live ones printed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from eventrunner.access.identity import Identity
from eventrunner.cli.main import cli
from eventrunner.events import Event, encode_event
from eventrunner.events.packing import bracket, pack
from eventrunner.storage.event_store import Row
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.stores import open_store
from nats.aio.client import Client
from support_api import served_api
from support_identity import sign

ODD_IDS = ["a/b", "stream", "..", "a b+c&d"]


def key(tenant: str = "acme") -> str:
    """Made when it is needed, because an identity lasts for minutes only."""
    return sign(Identity("alice", tenant, ("user",)))


def event(number: int, id: str = "", source: str = "/s", **attributes: str) -> bytes:
    moment = f"2026-01-01T00:00:{number:02}Z"
    made = Event(id=id or f"e{number}", source=source, type="ab"[number % 2], tenantid="acme", time=moment)
    made.receivedtime = moment
    made.extensions = dict(attributes) or None
    made.set_payload(b'{\n"n": %d}' % number, None)
    return encode_event(made)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Mirror]]:
    folder: Path = tmp_path_factory.mktemp("events")
    store = open_store(f"sqlite:///{folder}/events.db")
    store.migrate()
    start = 1_767_225_600_000_000
    rows = [
        Row("acme", "/s", f"e{n}", "ab"[n % 2], start + n * 10**6, start, event(n, route="fast")) for n in range(30)
    ]
    rows += [Row("acme", "/odd", one, "odd", 0, start, event(0, one, "/odd")) for one in ODD_IDS]
    rows += [Row("acme", f"/{n}", "twice", "odd", 0, start, event(0, "twice", f"/{n}")) for n in range(2)]
    store.put(rows)
    store.close()
    with served_api(folder) as served:
        yield served


@pytest.fixture
def run(served: tuple[str, Mirror], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("EVENTRUNNER_URL", served[0])
    monkeypatch.setenv("EVENTRUNNER_KEY", key())
    return lambda *arguments: CliRunner().invoke(cli, [*arguments])


class TestStored:
    def test_events_are_listed(self, run):
        lines = run("events", "list", "acme", "--type", "b", "--limit", "3").output.splitlines()
        assert lines == [f'2026-01-01T00:00:{n:02}Z  b  /s  e{n}  {{"n": {n}}}' for n in (1, 3, 5)]
        newest = run("events", "list", "acme", "--newest-first", "--limit", "1", "--json").output
        assert json.loads(newest)["id"] == "e29"
        assert run("events", "list", "acme", "--from", "2027-01-01T00:00:00Z").output == "no events\n"
        listed = run("events", "list", "acme", "--from", "2026-01-01T00:00:00Z", "--json").output.splitlines()
        assert len(listed) == 30

    def test_one_is_shown(self, run):
        assert json.loads(run("events", "get", "acme", "e7").output)["data"] == {"n": 7}
        assert "no event nothing" in str(run("events", "get", "acme", "nothing").exception)

    @pytest.mark.parametrize("odd", ODD_IDS)
    def test_one_is_shown_and_followed_whose_id_no_path_can_hold(self, run, odd):
        assert json.loads(run("events", "get", "acme", odd).output)["id"] == odd
        found = json.loads(run("events", "trace", "acme", odd, "--json").output)
        assert (found["id"], found["source"], found["stored"]) == (odd, "/odd", True)

    def test_one_that_several_sources_have_needs_the_source(self, run):
        for command in ("get", "trace"):
            assert "/0, /1" in str(run("events", command, "acme", "twice").exception)
            assert run("events", command, "acme", "twice", "--source", "/1").exit_code == 0
            assert "from /2" in str(run("events", command, "acme", "twice", "--source", "/2").exception)

    def test_the_way_of_one_is_told_without_clickhouse_too(self, run):
        found = json.loads(run("events", "trace", "acme", "e7", "--json").output)
        assert (found["stored"], found["route"], found["received"]) == (True, "fast", "2026-01-01T00:00:07Z")
        assert found["invoice"] == {"id": found["invoice"]["id"], "period": "2026-01", "status": "open", "lines": []}
        assert "ClickHouse" in found["missing"][0]
        assert "routed    fast" in run("events", "trace", "acme", "e7").output

    def test_the_way_of_one_that_only_has_a_dead_letter_ends_there(self, run, served):
        async def give_up(client: Client) -> None:
            letter = json.loads(event(40)) | {"knativeerrordata": "no way", "knativeerrorattempts": 3}
            await client.jetstream().publish("deadletter.event-engine.acme", json.dumps(letter).encode())

        served[1].run(give_up)
        found = json.loads(run("events", "trace", "acme", "e40", "--json").output)
        assert (found["stored"], found["usage"]) == (False, None)
        assert [(item["stage"], item["reason"], item["attempts"]) for item in found["dead_letters"]] == [
            ("event-engine", "no way", 3)
        ]
        assert "no event e41" in str(run("events", "trace", "acme", "e41").exception)
        assert "no event e40" in str(run("events", "trace", "acme", "e40", "--source", "/other").exception)


class TestLive:
    def test_events_are_printed_as_they_come(self, served):
        environ = {"EVENTRUNNER_URL": served[0], "EVENTRUNNER_KEY": key(), "PATH": ""}
        command = [sys.executable, "-m", "eventrunner", "tail", "acme", "--type", "a", "--limit", "3", "--json"]
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as process:
            stop = threading.Event()
            sender = threading.Thread(target=self._send, args=(served[1], stop))
            sender.start()
            assert process.stdout is not None
            got = [json.loads(line) for line in process.stdout]
            stop.set()
            sender.join()
            assert process.wait(20) == 0
        assert [(item["type"], item["tenantid"]) for item in got] == [("a", "acme")] * 3
        numbers = [item["data"]["n"] for item in got]
        assert numbers == list(range(numbers[0], numbers[0] + 6, 2))

    @staticmethod
    def _send(registry: Mirror, stop: threading.Event) -> None:
        """A plain event, a packed batch, somebody else's and a replay's, again and again."""

        async def publish(client: Client, number: int) -> None:
            stream = client.jetstream()
            await stream.publish("results.acme", event(number))
            batch = bracket(pack(event(number + 1) + b"," + event(number + 2)))
            await stream.publish("results.acme", batch, headers={"Content-Encoding": "zstd"})
            await stream.publish("results.acme", event(99), headers={"Eventrunner-Only": "somebody"})
            await stream.publish("results.other", event(98))

        for number in range(0, 57, 3):
            if stop.wait(0.3):
                return
            registry.run(lambda client, number=number: publish(client, number))

    def test_a_stream_goes_on_after_the_last_id(self, served):
        import urllib.request

        async def publish(client: Client) -> int:
            return (await client.jetstream().publish("results.acme", b"[%b,%b]" % (event(50), event(51)))).seq

        sequence = served[1].run(publish)
        request = urllib.request.Request(f"{served[0]}/api/v1/events/acme/stream")
        request.add_header("Authorization", f"Bearer {key()}")
        request.add_header("Last-Event-ID", f"{sequence}.0")
        with urllib.request.urlopen(request, timeout=20) as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            lines = []
            while f"id: {sequence}.1" not in lines:
                lines.append(response.readline().decode().rstrip())
        assert not [line for line in lines if line == f"id: {sequence}.0"]

    def test_who_leaves_soon_gives_its_place_to_another(self, served):
        import urllib.error
        import urllib.request
        from contextlib import ExitStack

        def asked(tenant: str) -> urllib.request.Request:
            return urllib.request.Request(
                f"{served[0]}/api/v1/events/{tenant}/stream", headers={"Authorization": f"Bearer {key(tenant)}"}
            )

        request = asked("acme")

        def status() -> int:
            try:
                with urllib.request.urlopen(request, timeout=20) as response:
                    return response.status
            except urllib.error.HTTPError as error:
                with error:
                    return error.code

        def until_refused(opened: ExitStack, tenant: str) -> tuple[int, str]:
            try:
                while True:
                    opened.enter_context(urllib.request.urlopen(asked(tenant), timeout=20))
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.headers["Retry-After"]

        with ExitStack() as opened:
            assert until_refused(opened, "acme") == (429, "5")
            # What one tenant has taken leaves places to all others, until there is none at all.
            refused = [until_refused(opened, f"other-{number}") for number in range(20)]
            assert refused[0] == (429, "5")
            assert refused[-1] == (503, "5")
        deadline = time.monotonic() + 13
        while status() != 200:
            assert time.monotonic() < deadline
            time.sleep(0.5)

    def test_streams_that_were_refused_hold_no_places(self, served):
        import urllib.error
        import urllib.request

        def open_stream(query: str) -> int:
            request = urllib.request.Request(f"{served[0]}/api/v1/events/acme/stream{query}")
            request.add_header("Authorization", f"Bearer {key()}")
            try:
                with urllib.request.urlopen(request, timeout=20) as response:
                    return response.status
            except urllib.error.HTTPError as error:
                with error:
                    return error.code

        assert [open_stream("?type=") for _ in range(20)] == [422] * 20
        # What an earlier test has left holds its place until the next heartbeat.
        deadline = time.monotonic() + 13
        while (status := open_stream("")) != 200:
            assert time.monotonic() < deadline, status
            time.sleep(0.5)

    def test_a_wrong_last_id_is_refused(self, served):
        import urllib.error
        import urllib.request

        request = urllib.request.Request(f"{served[0]}/api/v1/events/acme/stream")
        request.add_header("Authorization", f"Bearer {key()}")
        request.add_header("Last-Event-ID", "x")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=20)
        with caught.value as answer:
            assert answer.code == 422

    def test_another_tenants_are_refused_and_a_platform_that_is_away_is_told(self, run, monkeypatch):
        assert "403" in str(run("tail", "other").exception)
        monkeypatch.setenv("EVENTRUNNER_URL", "http://127.0.0.1:9")
        assert "does not answer" in str(run("tail", "acme").exception)
