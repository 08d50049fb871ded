from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from unittest.mock import ANY
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from backports import zstd
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent
from eventrunner.errors import InvalidInput, Unavailable
from eventrunner.events import Event, decode_batch, encode_batch
from eventrunner.events.packing import bracket, join_packed, pack, unpack
from eventrunner.events.sections import Section, by_tenant, read_sections, write_sections
from eventrunner.settings import Settings
from eventrunner.stage import Batch, Outcomes, Stage, unpacked_events
from flask import Flask, request
from flask.testing import FlaskClient
from functions_framework import create_app
from support import free_port

_BATCH = "application/cloudevents-batch+json"


def _client(handle: Callable[[Batch], Outcomes]) -> FlaskClient:
    stage = Stage("test", lambda _: handle)
    app = Flask(__name__)
    app.add_url_rule("/", "main", lambda: stage.main(request), methods=["GET", "POST"])
    return app.test_client()


def _echo(batch: Batch) -> Outcomes:
    return Outcomes(results=list(batch.events))


@pytest.fixture(autouse=True)
def _logging_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventrunner.stage.function.configure_logging", lambda *_: None)


def test_a_batch_is_answered_with_a_batch() -> None:
    events = [Event(id=str(number), source="/s", type="t") for number in range(3)]
    response = _client(_echo).post("/", data=encode_batch(events), content_type=_BATCH)
    assert response.status_code == 200
    assert response.content_type == _BATCH
    assert response.headers["Eventrunner-Count"] == "3"
    assert [event.id for event in decode_batch(response.data)] == ["0", "1", "2"]


@pytest.mark.parametrize("write", [to_structured, to_binary])
def test_single_events_of_the_cloudevents_package_are_read(
    write: Callable[[CloudEvent], tuple[dict[str, str], bytes]],
) -> None:
    headers, body = write(CloudEvent({"type": "t", "source": "/s", "id": "1", "x": "y"}, {"a": 1}))
    response = _client(_echo).post("/", data=body, headers=headers)
    (event,) = decode_batch(response.data)
    assert (event.id, event.extensions, event.decoded_data()) == ("1", {"x": "y"}, {"a": 1})


def test_nothing_to_publish_is_204() -> None:
    assert _client(lambda _: Outcomes()).post("/", data=b"[]", content_type=_BATCH).status_code == 204


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [(b"[", _BATCH, 400), (b'[{"id":1}]', _BATCH, 422), (b"x", "text/plain", 415), (b"\xff", _BATCH, 400)],
)
def test_a_request_that_is_no_batch_gets_a_problem_document(body: bytes, content_type: str, status: int) -> None:
    response = _client(_echo).post("/", data=body, content_type=content_type)
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    assert response.json == {"type": ANY, "title": ANY, "status": status, "detail": ANY} | (response.json or {})


def test_a_server_that_is_away_is_503_with_retry_after() -> None:
    def away(_: Batch) -> Outcomes:
        raise Unavailable("the store is away", retry_after=2.5)

    response = _client(away).post("/", data=b"[]", content_type=_BATCH)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "3")


def test_an_unexpected_error_is_500_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Batch) -> Outcomes:
        raise RuntimeError("boom")

    with caplog.at_level(logging.ERROR):
        response = _client(broken).post("/", data=b"[]", content_type=_BATCH)
    assert response.status_code == 500
    assert b"boom" not in response.data
    assert "boom" in caplog.text


def test_a_refused_batch_is_final() -> None:
    def refuse(_: Batch) -> Outcomes:
        raise InvalidInput("no")

    assert _client(refuse).post("/", data=b"[]", content_type=_BATCH).status_code == 422


def test_probes_and_metrics_need_no_handler() -> None:
    def never(_: Settings) -> None:
        raise AssertionError("the handler is made on the first batch only")

    stage = Stage("test", never)  # type: ignore[arg-type]
    app = Flask(__name__)
    with app.test_request_context("/healthz") as context:
        assert stage.main(context.request).status_code == 200
    with app.test_request_context("/metrics") as context:
        assert b"eventrunner_request_duration_seconds" in stage.main(context.request).data


def test_functions_framework_serves_a_stage(tmp_path) -> None:  # type: ignore[no-untyped-def]
    source = tmp_path / "main.py"
    source.write_text(
        "from eventrunner.stage import Outcomes, Stage\n"
        "_stage = Stage('test', lambda settings: lambda batch: Outcomes(results=list(batch.events)))\n"
        "def main(request):\n    return _stage.main(request)\n"
    )
    client = create_app("main", str(source)).test_client()
    response = client.post("/", data=encode_batch([Event(id="1", source="/s", type="t")]), content_type=_BATCH)
    assert [event.id for event in decode_batch(response.data)] == ["1"]


# --- packed bodies


def _tenants(*tenants: str) -> list[Event]:
    return [Event(id=str(n), source="/s", type="t", tenantid=t, subject="x" * 3000) for n, t in enumerate(tenants)]


def test_a_packed_batch_is_answered_packed_and_in_sections() -> None:
    events = _tenants("acme", "globex", "acme")
    body = bracket(pack(encode_batch(events)[1:-1]))
    headers = {"Content-Type": _BATCH, "Content-Encoding": "zstd", "Accept-Encoding": "zstd"}
    response = _client(_echo).post("/", data=body, headers=headers)
    assert (response.status_code, response.headers["Content-Encoding"]) == (200, "zstd")
    sections = read_sections(response.headers["Eventrunner-Tenants"], response.data, packed=True)
    assert [(section.tenant, section.events) for section in sections] == [("acme", 2), ("globex", 1)]
    assert [event.id for event in decode_batch(unpack(response.data, 100_000))] == ["0", "2", "1"]


_PACKED = {"Content-Type": _BATCH, "Content-Encoding": "zstd", "Accept-Encoding": "zstd"}


def _sections(events: list[Event]) -> tuple[bytes, dict[str, str]]:
    texts = {tenant: pack(encode_batch(group)[1:-1]) for tenant, group in by_tenant(events).items()}
    written = write_sections([Section(tenant, 1, text) for tenant, text in texts.items()], packed=True)
    assert written is not None
    return written[0], _PACKED | {"Eventrunner-Tenants": written[1]}


def _pass_first(batch: Batch) -> Outcomes:
    """The first tenant's events go on as they came."""
    assert batch.sections is not None
    first, *others = batch.sections
    return Outcomes(passed=[first], results=[event for item in others for event in unpacked_events(item.members)])


def test_packed_events_can_go_on_unopened_with_what_the_stage_spent_beside_them() -> None:
    events = _tenants("acme", "globex")
    # Too small to be worth packing, but not to have all others unpacked for it.
    events[1].subject = None
    body, headers = _sections(events)
    response = _client(_pass_first).post("/", data=body, headers=headers)
    assert response.headers["Eventrunner-Count"] == "2"
    first, second = read_sections(response.headers["Eventrunner-Tenants"], response.data, packed=True)
    assert pack(encode_batch([events[0]])[1:-1]) in first.members
    for section, event in ((first, events[0]), (second, events[1])):
        (result,) = unpacked_events(section.members)
        assert (result.tenantid, result.id) == (event.tenantid, event.id)
        assert result.usagecpu > 0


def test_events_that_go_on_unopened_are_in_a_reply_with_failures_too() -> None:
    def fail(batch: Batch) -> Outcomes:
        outcomes = _pass_first(batch)
        failed = outcomes.results.pop()
        failed.usagein = 300
        outcomes.fail(failed, 422, "no")
        return outcomes

    body, headers = _sections(_tenants("acme", "globex"))
    reply = decode_batch(_client(fail).post("/", data=body, headers=headers).data)
    assert [event.type for event in reply] == ["t", "eventrunner.usage", "t"]
    assert reply[0].tenantid == "acme"
    assert reply[0].usagecpu > 0


def test_sections_are_offered_only_to_who_takes_a_packed_reply() -> None:
    def handle(batch: Batch) -> Outcomes:
        assert batch.sections is None
        return _echo(batch)

    body, headers = _sections(_tenants("acme", "globex"))
    del headers["Accept-Encoding"]
    assert len(decode_batch(_client(handle).post("/", data=body, headers=headers).data)) == 2


def test_written_events_are_published_as_they_are() -> None:
    (event,) = _tenants("acme")
    event.subject = "x" * 9000
    text = encode_batch([event])[1:-1]
    derived = Event(id="d", source="/s", type="t", tenantid="acme")
    outcomes = Outcomes(
        written=[Section("acme", 1, text)], written_derived=[Section("acme", 1, encode_batch([derived])[1:-1])]
    )
    body = bracket(pack(text))
    packed = _client(lambda _: outcomes).post("/", data=body, headers=_PACKED | {"Eventrunner-Count": "1"})
    (section,) = read_sections(packed.headers["Eventrunner-Tenants"], packed.data, packed=True)
    plain = decode_batch(_client(lambda _: outcomes).post("/", data=encode_batch([event]), content_type=_BATCH).data)
    for result, alert in (unpacked_events(section.members), plain):
        assert (result.id, alert.id, alert.usagecpu) == ("0", "d", 0)
        assert result.usagecpu > 0


def test_who_does_not_ask_for_it_is_answered_plain() -> None:
    response = _client(_echo).post("/", data=encode_batch(_tenants("acme")), content_type=_BATCH)
    assert "Content-Encoding" not in response.headers
    assert response.headers["Eventrunner-Tenants"].startswith("acme;1;")
    assert len(decode_batch(response.data)) == 1


def test_a_reply_with_a_failure_must_be_looked_into() -> None:
    def fail(batch: Batch) -> Outcomes:
        outcomes = Outcomes(results=list(batch.events[1:]))
        outcomes.fail(batch.events[0], 422, "no")
        return outcomes

    headers = {"Content-Type": _BATCH, "Accept-Encoding": "zstd"}
    response = _client(fail).post("/", data=encode_batch(_tenants("acme", "acme")), headers=headers)
    assert "Eventrunner-Tenants" not in response.headers
    assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [(b"x", "br", 415), (b"no frame", "zstd", 400), (pack(bytes(100_000_000)), "zstd", 413)],
)
def test_a_body_that_cannot_be_unpacked_is_refused(body: bytes, encoding: str, status: int) -> None:
    headers = {"Content-Type": _BATCH, "Content-Encoding": encoding}
    assert _client(_echo).post("/", data=body, headers=headers).status_code == status


def test_chunks_are_the_events_some_at_a_time() -> None:
    events = [Event(id=str(n), source="/s", type="t", subject="x" * 1000, extensions={"n": n}) for n in range(1000)]
    frames = [pack(encode_batch(events[start : start + 100])[1:-1]) for start in range(0, 1000, 100)]
    packed = Batch(bracket(join_packed(frames)), packed=True)
    chunks = list(packed.chunks())
    assert 3 <= len(chunks) <= 5
    assert [event for chunk in chunks for event in chunk] == events == packed.events
    assert list(Batch(encode_batch(events)).chunks()) == [events]
    assert list(Batch(zstd.compress(encode_batch(events)), packed=True).chunks()) == [events]


def test_a_request_in_hand_is_answered_after_sigterm(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "import pathlib, time\n"
        "from eventrunner.stage import Outcomes, Stage\n"
        "def _handle(batch):\n"
        f"    pathlib.Path({str(tmp_path / 'begun')!r}).touch()\n"
        "    time.sleep(1)\n"
        "    return Outcomes(results=list(batch.events))\n"
        "_stage = Stage('slow', lambda settings: _handle)\n"
        "def main(request):\n    return _stage.main(request)\n"
    )
    port = free_port()
    arguments = ["--target=main", f"--source={tmp_path}/main.py", "--host=127.0.0.1", f"--port={port}"]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen([sys.executable, "-m", "functions_framework", *arguments], stdout=log, stderr=log) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        answer = pool.submit(_post, port, encode_batch([Event(id="1", source="/s", type="t")]))
        while not (tmp_path / "begun").exists():
            assert not answer.done()
            time.sleep(0.02)
        server.terminate()
        assert [event.id for event in decode_batch(answer.result(10))] == ["1"]
        assert server.wait(10) == 0


def _post(port: int, body: bytes) -> bytes:
    """The answer, from a server that may still be starting."""
    request = Request(f"http://127.0.0.1:{port}/", data=body, headers={"Content-Type": _BATCH})
    for _ in range(500):
        with suppress(URLError), urlopen(request, timeout=10) as response:
            answer: bytes = response.read()
            return answer
        time.sleep(0.02)
    raise TimeoutError("the function did not start")


@pytest.mark.parametrize("outcomes", [Outcomes(handled=2), Outcomes([Event(id="1", source="/s", type="t")], handled=2)])
def test_a_stage_may_answer_for_the_first_events_only(outcomes: Outcomes) -> None:
    response = _client(lambda _: outcomes).post("/", data=b"[]", content_type=_BATCH)
    assert response.headers["Eventrunner-Handled"] == "2"


def test_records_of_a_stage_that_meters_by_itself_are_in_its_reply() -> None:
    record = Event(id="r", source="/s", type="eventrunner.usage", tenantid="acme")
    headers = {"Accept-Encoding": "zstd"}
    response = _client(lambda _: Outcomes(usage=[record])).post("/", data=b"[]", content_type=_BATCH, headers=headers)
    assert "Eventrunner-Tenants" not in response.headers
    assert [event.id for event in decode_batch(response.data)] == ["r"]
