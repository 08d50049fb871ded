"""Sources that come and go with their files, while the adapter runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from eventrunner.source.adapter import Adapter
from eventrunner.source.folder import SourceFolder
from eventrunner.storage.jetstream import JetStreamError
from support_nats import NatsServer, eventually
from support_source import Lab, Request, echo, event, manifest, open_lab


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "sources"
    made.mkdir()
    return made


def put(folder: Path, name: str, sink: str = "http://127.0.0.1:1/", **spec: Any) -> Path:
    """One source on a tenant's results, as the platform writes it."""
    document = manifest(sink, **{"stream": "RESULTS", "filterSubject": f"results.{name}", **spec})
    document["metadata"]["name"] = name
    return write(folder, name, json.dumps(document))


def write(folder: Path, name: str, text: str) -> Path:
    new, path = folder / f"{name}.new", folder / f"{name}.yaml"
    new.write_text(text)
    new.replace(path)
    return path


@contextlib.asynccontextmanager
async def watching(lab: Lab, folder: Path) -> AsyncIterator[Adapter]:
    adapter, stopping = Adapter([], lab.server.url, watch=folder), asyncio.Event()
    task = asyncio.create_task(adapter.run(stopping))
    try:
        yield adapter
    finally:
        stopping.set()
        async with asyncio.timeout(30):
            await task


async def has_consumer(lab: Lab, name: str, stream: str = "RESULTS") -> bool:
    try:
        await lab.api.request(f"CONSUMER.INFO.{stream}.{name}")
    except JetStreamError:
        return False
    return True


async def arrive(lab: Lab, *ids: str) -> None:
    await eventually(lambda: set(ids) <= {id for request in lab.sink.requests for id in request.ids})


async def test_a_new_file_starts_its_source(server: NatsServer, folder: Path) -> None:
    async with open_lab(server) as lab, watching(lab, folder):
        await lab.publish(event("1", "acme"), "results.acme")
        put(folder, "acme", lab.sink.url)
        await arrive(lab, "1")
        await lab.publish(event("2", "acme"), "results.acme")
        await arrive(lab, "2")
        assert await lab.ids("EVENTS") == ["1", "2"]


async def test_a_changed_file_starts_its_source_anew_and_nothing_is_lost_or_done_twice(
    server: NatsServer, folder: Path
) -> None:
    async with open_lab(server) as lab, watching(lab, folder):
        put(folder, "acme", lab.sink.url)
        for number in range(40):
            await lab.publish(event(number, "acme"), "results.acme")
            if number % 10 == 5:
                put(folder, "acme", lab.sink.url, batch={"maxEvents": number})
        await arrive(lab, *map(str, range(40)))
        await eventually(lambda: lab.is_done("RESULTS", "acme"))
        assert sorted(id for request in lab.sink.requests for id in request.ids) == sorted(map(str, range(40)))


async def test_a_source_whose_file_is_gone_finishes_what_is_under_way_and_takes_its_consumer_along(
    server: NatsServer, folder: Path
) -> None:
    held, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> web.Response:
        held.set()
        await go_on.wait()
        return echo(request)

    async with open_lab(server, slow) as lab, watching(lab, folder):
        path = put(folder, "acme", lab.sink.url)
        await lab.publish(event("1", "acme"), "results.acme")
        await held.wait()
        path.unlink()
        put(folder, "later", lab.sink.url)
        await eventually(lambda: has_consumer(lab, "later"))
        assert await has_consumer(lab, "acme")
        go_on.set()
        await eventually(lambda: gone(lab, "acme"))
        assert await lab.ids("EVENTS") == ["1"]
        await lab.publish(event("2", "acme"), "results.acme")
        put(folder, "other", lab.sink.url)
        await lab.publish(event("3", "other"), "results.other")
        await arrive(lab, "3")
        assert [id for request in lab.sink.requests for id in request.ids] == ["1", "3"]


async def gone(lab: Lab, name: str, stream: str = "RESULTS") -> bool:
    return not await has_consumer(lab, name, stream)


async def test_a_source_that_moves_to_another_stream_leaves_no_consumer_behind(
    server: NatsServer, folder: Path
) -> None:
    async with open_lab(server) as lab, watching(lab, folder):
        put(folder, "acme", lab.sink.url)
        await eventually(lambda: has_consumer(lab, "acme"))
        put(folder, "acme", lab.sink.url, stream="RAW", filterSubject="raw.acme")
        await eventually(lambda: has_consumer(lab, "acme", "RAW"))
        await eventually(lambda: gone(lab, "acme"))


async def test_an_adapter_that_ends_leaves_the_consumers_where_they_are(server: NatsServer, folder: Path) -> None:
    async with open_lab(server) as lab:
        put(folder, "acme", lab.sink.url)
        async with watching(lab, folder):
            await eventually(lambda: has_consumer(lab, "acme"))
        assert await has_consumer(lab, "acme")


async def test_a_source_gets_what_came_since_its_start_time_and_nothing_older(server: NatsServer, folder: Path) -> None:
    async with open_lab(server) as lab, watching(lab, folder):
        await lab.publish(event("old", "acme"), "results.acme")
        stored = (await lab.api.request("STREAM.MSG.GET.RESULTS", {"last_by_subj": "results.acme"}))["message"]["time"]
        since = stored[:19] + "." + str(int(stored[20:-1].ljust(9, "0")[:6]) + 1).zfill(6) + "Z"
        put(folder, "acme", lab.sink.url, startTime=since)
        await lab.publish(event("new", "acme"), "results.acme")
        await arrive(lab, "new")
        assert [id for request in lab.sink.requests for id in request.ids] == ["new"]


async def test_a_bad_file_is_logged_and_touches_no_other(
    server: NatsServer, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_lab(server) as lab, watching(lab, folder):
        put(folder, "good", lab.sink.url)
        write(folder, "no-yaml", "{")
        write(folder, "wrong", json.dumps(manifest("nowhere")))
        put(folder, "no-stream", lab.sink.url, stream="NOWHERE")
        await lab.publish(event("1", "good"), "results.good")
        await arrive(lab, "1")
        write(folder, "good", "{")
        await eventually(lambda: "good.yaml is passed over" in caplog.text)
        await lab.publish(event("2", "good"), "results.good")
        await arrive(lab, "2")
        assert "no-yaml.yaml is passed over" in caplog.text
        assert "wrong.yaml is passed over" in caplog.text


async def test_a_folder_that_cannot_be_read_ends_no_source(
    server: NatsServer, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_lab(server) as lab, watching(lab, folder):
        put(folder, "acme", lab.sink.url)
        await eventually(lambda: has_consumer(lab, "acme"))
        os.rename(folder, f"{folder}-away")
        await eventually(lambda: "its sources go on" in caplog.text)
        await lab.publish(event("1", "acme"), "results.acme")
        await arrive(lab, "1")


async def test_all_goes_on_when_the_server_was_away(server: NatsServer, folder: Path) -> None:
    async with open_lab(server) as lab, watching(lab, folder):
        put(folder, "acme", lab.sink.url)
        await eventually(lambda: has_consumer(lab, "acme"))
        await lab.stop_nats()
        put(folder, "other", lab.sink.url)
        await lab.start_nats()
        for name in ("acme", "other"):
            await lab.publish(event(name, name), f"results.{name}")
        await arrive(lab, "acme", "other")


def test_a_folder_is_read_again_only_when_it_has_changed(folder: Path) -> None:
    put(folder, "one")
    files = SourceFolder(folder)
    assert list(files.look() or ()) == ["one"]
    assert files.look() is None
    put(folder, "two")
    assert list(files.look() or ()) == ["one", "two"]
    (folder / "one.yaml").unlink()
    assert list(files.look() or ()) == ["two"]


def test_a_change_in_the_same_tick_of_the_clock_is_seen(folder: Path) -> None:
    put(folder, "one", batch={"maxEvents": 1})
    files = SourceFolder(folder)
    changed = folder.stat()
    assert files.look() is not None
    put(folder, "one", batch={"maxEvents": 2})
    os.utime(folder, ns=(changed.st_atime_ns, changed.st_mtime_ns))
    sources = files.look()
    assert sources is not None
    assert sources["one"].batch.max_events == 2


def test_two_files_cannot_be_one_source_nor_read_for_one_consumer(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, "a", consumer="shared")
    put(folder, "b", consumer="shared")
    put(folder, "fixed")
    assert list(SourceFolder(folder, {"fixed"}).look() or ()) == ["a"]
    assert "b.yaml is passed over" in caplog.text
    assert "fixed.yaml is passed over" in caplog.text
