"""Dead letters of a real adapter, read, replayed and dropped over a real server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from eventrunner.errors import Conflict, InvalidInput, NotFound, Unavailable
from eventrunner.source.letter_box import LetterBox
from eventrunner.source.letters import Letter, LetterFilter
from eventrunner.source.message import Message
from eventrunner.storage.jetstream import connect
from support_nats import NatsServer, eventually
from support_source import Lab, Request, echo, event, open_lab

ACME = LetterFilter("acme")


def refuse(request: Request) -> web.Response:
    return web.Response(status=400, text="no")


def fail_inside(request: Request) -> web.Response:
    """As a stage does that gives events up by itself."""
    failed = [item | {"knativeerrorcode": 422, "knativeerrordata": "no route"} for item in request.events]
    return echo(Request(request.headers, web.json_response(failed).body, request.at, request.hang_up))  # type: ignore[arg-type]


async def letters_of(lab: Lab, wanted: LetterFilter = ACME, limit: int = 100) -> list[Letter]:
    box, found, cursor = LetterBox(lab.client), [], None
    while True:
        page = await box.page(wanted, limit, cursor)
        found += page.letters
        cursor = page.next_cursor
        if cursor is None:
            return found


async def fill(lab: Lab, *events: dict[str, Any], answer: Any = refuse, tenant: str = "acme") -> None:
    lab.sink.answer = answer
    async with lab.adapter():
        for item in events:
            await lab.publish(item, f"raw.{tenant}")
        await lab.finished()


class TestReading:
    async def test_a_letter_tells_stage_reason_attempts_times_and_event(self, server: NatsServer) -> None:
        async with open_lab(server) as lab:
            sent = event(7, data={"a": 1}, colour="red")
            await fill(lab, sent)
            (letter,) = await letters_of(lab)
            shown = letter.document()
            assert (shown["stage"], shown["event_id"], shown["type"], shown["code"]) == ("stage", "7", "test", 400)
            assert (shown["reason"], shown["attempts"], shown["destination"]) == ("no", 1, lab.sink.url)
            assert shown["first"] == shown["last"]
            assert shown["replayable"] is True
            assert {name: str(bytes(raw), "utf-8") for name, raw in shown["event"].items()}["colour"] == '"red"'
            assert shown["event"].keys() == sent.keys()

    async def test_a_letter_that_the_stage_made_has_attempts_and_times_too(self, server: NatsServer) -> None:
        async with open_lab(server) as lab:
            await fill(lab, event(7), answer=fail_inside)
            shown = (await letters_of(lab))[0].document()
            assert (shown["code"], shown["reason"], shown["attempts"]) == (422, "no route", 1)
            assert shown["first"] == shown["last"] != ""
            assert shown["replayable"] is True

    async def test_pages_and_filters(self, server: NatsServer) -> None:
        async with open_lab(server) as lab:
            for tenant, kind, numbers in (
                ("acme", "a", range(5)),
                ("other", "a", range(3)),
                ("acme", "b", range(5, 9)),
            ):
                await fill(lab, *(event(n, tenant, type=kind) for n in numbers), tenant=tenant)
            await lab.client.jetstream().publish("deadletter.second.acme", b'{"id":"x","type":"a"}')
            box = LetterBox(lab.client)
            assert await box.counts("acme") == {"second": 1, "stage": 9}
            assert await box.counts("nobody") == {}
            all_of_acme = await letters_of(lab, limit=2)
            ids = [letter.text("id") for letter in all_of_acme]
            # Refused events of one request become letters in any order.
            assert (sorted(ids[:9]), ids[9]) == ([*map(str, range(9))], "x")
            assert [letter.sequence for letter in all_of_acme] == sorted(letter.sequence for letter in all_of_acme)
            by_stage = await letters_of(lab, LetterFilter("acme", stage="second"))
            assert [letter.text("id") for letter in by_stage] == ["x"]
            by_type = await letters_of(lab, LetterFilter("acme", stage="stage", type="b"), limit=3)
            assert sorted(letter.text("id") for letter in by_type) == ["5", "6", "7", "8"]
            since, until = all_of_acme[2].given_up, all_of_acme[6].given_up
            by_time = await letters_of(lab, LetterFilter("acme", since=since, until=until), limit=2)
            assert [letter.text("id") for letter in by_time] == ids[2:6]
            assert await letters_of(lab, LetterFilter("acme", since=all_of_acme[-1].given_up + 1)) == []

    async def test_another_tenants_letter_is_not_there(self, server: NatsServer) -> None:
        async with open_lab(server) as lab:
            await fill(lab, event(1))
            box, (letter,) = LetterBox(lab.client), await letters_of(lab)
            assert (await box.get("acme", letter.id)).text("id") == "1"
            for tenant, letter_id in (("other", letter.id), ("acme", "99"), ("acme", "x"), ("acme", "0"), ("acme", "")):
                with pytest.raises(NotFound):
                    await box.get(tenant, letter_id)
            with pytest.raises(InvalidInput):
                await box.page(ACME, 1, "abc")


@pytest.mark.parametrize("failing", [refuse, fail_inside])
class TestReplay:
    async def test_an_event_that_passes_now_leaves_no_letter(self, server: NatsServer, failing: Any) -> None:
        async with open_lab(server) as lab:
            await fill(lab, event(1), answer=failing)
            box = LetterBox(lab.client)
            await box.replay(await letters_of(lab))
            assert await letters_of(lab) == []
            await fill(lab, answer=echo)
            assert await lab.events("EVENTS") == [event(1)]

    async def test_one_that_fails_again_is_a_letter_again_with_its_attempts_counted_on(
        self, server: NatsServer, failing: Any
    ) -> None:
        async with open_lab(server) as lab:
            await fill(lab, event(1), answer=failing)
            first = before = (await letters_of(lab))[0].document()
            for number in ("2", "3"):
                await LetterBox(lab.client).replay([await LetterBox(lab.client).get("acme", before["id"])])
                # Within the duplicate window of DEADLETTER, and beside another event.
                await fill(lab, event(number), answer=failing)
                shown = {item["event_id"]: item for item in (x.document() for x in await letters_of(lab))}
                # Two when both were in one request, which then was halved.
                assert shown[number]["attempts"] in (1, 2)
                assert shown["1"]["attempts"] - before["attempts"] in (1, 2)
                assert shown["1"]["first"] == first["first"] < shown["1"]["last"]
                before = shown["1"]

    async def test_twice_or_after_a_crash_in_between_is_one_event_and_at_most_one_letter(
        self, server: NatsServer, failing: Any
    ) -> None:
        async with open_lab(server) as lab:
            await fill(lab, event(1), answer=failing)
            box, letters = LetterBox(lab.client), await letters_of(lab)
            publication = letters[0].replay()
            # What is left of one who crashed before the letter was removed.
            await box._publish(publication.subject, publication.body, publication.headers)
            await asyncio.gather(box.replay(letters), LetterBox(lab.client).replay(letters))
            await fill(lab, answer=failing)
            (again,) = await letters_of(lab)
            assert again.document()["attempts"] == 2
            await box.replay([again])
            await fill(lab, answer=echo)
            assert await lab.events("EVENTS") == [event(1)]


class TestReplayOfWhatIsNoEvent:
    @pytest.mark.parametrize("body", [b"garbage", b'[{"a":1},x]', b"\xff{}"])
    async def test_the_bytes_come_again_as_they_were(self, server: NatsServer, body: bytes) -> None:
        async with open_lab(server, refuse) as lab:
            async with lab.adapter():
                await lab.client.jetstream().publish("raw.acme", body)
                await lab.finished()
            letters = await letters_of(lab)
            assert [letter.text("type") for letter in letters] == ["eventrunner.undecodable"]
            publication = letters[0].replay()
            assert (publication.subject, publication.body) == ("raw.acme", body)
            await LetterBox(lab.client).replay(letters)
            await fill(lab)
            assert [letter.number("knativeerrorattempts") for letter in await letters_of(lab)] == [
                2 * letters[0].number("knativeerrorattempts")
            ]

    async def test_what_the_letter_does_not_hold_whole_is_refused(self, server: NatsServer) -> None:
        async with open_lab(server) as lab:
            async with lab.adapter():
                await lab.client.jetstream().publish("raw.acme", b"x" * 300_000)
                await lab.finished()
            await lab.client.jetstream().publish("deadletter.stage.acme", b"{")
            await lab.client.jetstream().publish("deadletter.stage.acme", b'{"id":"1"}')
            await lab.client.jetstream().publish(
                "deadletter.stage.acme", b'{"id":"1"}', headers={"Eventrunner-Origin": "raw.other"}
            )
            letters = await letters_of(lab)
            assert len(letters) == 4
            for letter in letters:
                assert letter.document()["replayable"] is False
                with pytest.raises(Conflict, match="cannot be replayed"):
                    await LetterBox(lab.client).replay([letter])
            swept = await LetterBox(lab.client).replay_all(ACME, None)
            assert (swept.done, len(swept.skipped), len(await letters_of(lab))) == (0, 4, 4)


class TestMany:
    async def test_all_that_the_filter_fits_are_replayed_and_what_fails_again_waits(self, server: NatsServer) -> None:
        async with open_lab(server) as lab:
            await fill(lab, *(event(number, type="ab"[number % 2]) for number in range(20)))
            async with lab.adapter():
                swept = await LetterBox(lab.client).replay_all(LetterFilter("acme", type="a"), None)
                await lab.finished()
            assert (swept.done, swept.next_cursor) == (10, None)
            shown = [letter.document() for letter in await letters_of(lab)]
            assert {(item["type"], item["first"] < item["last"]) for item in shown} == {("a", True), ("b", False)}
            assert sorted(item["event_id"] for item in shown) == sorted(str(number) for number in range(20))

    async def test_more_than_one_call_goes_on_where_the_last_one_stopped(
        self, server: NatsServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with open_lab(server) as lab:
            stream = lab.client.jetstream()
            await asyncio.gather(
                *(stream.publish("deadletter.stage.acme", b'{"id":"%d"}' % number) for number in range(600))
            )
            monkeypatch.setattr("eventrunner.source.letter_box._SWEEP_SECONDS", 0.001)
            done, cursor, calls = 0, None, 0
            while calls == 0 or cursor:
                swept = await LetterBox(lab.client).drop_all(ACME, cursor)
                done, cursor, calls = done + swept.done, swept.next_cursor, calls + 1
            assert (done, await letters_of(lab)) == (600, [])
            assert calls > 1

    async def test_a_stream_that_takes_nothing_loses_no_letter(self, server: NatsServer) -> None:
        async with open_lab(server) as lab:
            await fill(lab, event(1), event(2))
            config = (await lab.api.request("STREAM.INFO.RAW"))["config"]
            await lab.api.request("STREAM.UPDATE.RAW", config | {"max_msgs": 1})
            with pytest.raises(Unavailable, match="stays"):
                await LetterBox(lab.client).replay_all(ACME, None)
            assert len(await letters_of(lab)) == 1
            assert len(await lab.ids("RAW")) == 1
            await lab.api.request("STREAM.UPDATE.RAW", config)
            await LetterBox(lab.client).replay_all(ACME, None)
            assert (await letters_of(lab), await lab.ids("RAW")) == ([], ["1", "2"])


async def test_a_replay_for_one_consumer_of_a_stream_passes_the_others_by(server: NatsServer) -> None:
    async with open_lab(server) as lab, lab.adapter(stream="RESULTS", filterSubject="results.>", consumer="one"):
        headers = {"Eventrunner-Only": "other", "Content-Type": "application/cloudevents+json"}
        await lab.client.jetstream().publish("results.acme", b"garbage", headers=headers)
        headers["Eventrunner-Only"] = "one"
        await lab.client.jetstream().publish("results.acme", b'{"id":"1"}', headers=headers)
        await eventually(lambda: lab.is_done("RESULTS", "one"))
        assert [request.ids for request in lab.sink.requests] == [["1"]]
        assert await lab.stored("DEADLETTER") == []


def test_the_past_of_a_message_is_read_from_sound_headers_only() -> None:
    from eventrunner.source.message import read_message
    from nats.aio.msg import Msg

    def read(attempts: str) -> Message:
        reply = "$JS.ACK.RAW.stage.1.1.1.1.0"
        return read_message(Msg(None, "raw.acme", reply, b"{}", {"Eventrunner-Attempts": attempts}))  # type: ignore[arg-type]

    past = read("3").past
    assert past is not None
    assert (past.attempts, past.first) == (3, "")
    assert [read(text).past for text in ("", "x", "-1", "²")] == [None] * 4


async def test_letters_cannot_be_read_while_there_is_no_stream(server: NatsServer) -> None:
    client = await connect(server.url, name="test")
    try:
        with pytest.raises(Unavailable):
            await LetterBox(client).counts("acme")
        with pytest.raises(Unavailable):
            await LetterBox(client).get("acme", "1")
    finally:
        await client.close()
