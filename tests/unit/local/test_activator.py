"""Real functions, in real functions-framework processes, behind the activator."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from eventrunner.errors import Unavailable
from eventrunner.local.activator import Activator
from eventrunner.local.project import Project
from eventrunner.local.revision import Limits

from tests.unit.local.support import ASGI_ECHO, ECHO, is_alive, make_project, run, running_activator, until

QUICK = "autoscaling.knative.dev/window: 2s"
BROKEN = "raise RuntimeError('cannot be imported')"


async def call(activator: Activator, path: str = "/", body: bytes = b"", service: str = "echo") -> dict[str, Any]:
    answer = await activator.send(service, "POST", path, {"Content-Type": "text/plain", "X-Mine": "1"}, body)
    async with answer:
        assert answer.status == 200
        document: dict[str, Any] = await answer.json()
        return document


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path, {"echo": ECHO}, QUICK)


def test_the_first_request_starts_the_function_and_is_answered_by_it(project: Project) -> None:
    async def scenario() -> None:
        async with running_activator(project) as activator:
            assert not activator.revisions["echo"].replicas
            answer = await call(activator, "/a%2Fb?q=%20", b"text")
            assert (answer["method"], answer["path"], answer["body"]) == ("POST", "/a/b?q=%20", "text")
            assert answer["colour"] == "green"
            pid = activator.revisions["echo"].replicas[0].child.pid
        await until(lambda: not is_alive(pid))

    run(scenario())


def test_a_function_sees_the_headers_that_were_sent_and_no_others(project: Project) -> None:
    async def scenario() -> None:
        async with running_activator(project) as activator:
            headers = dict((await call(activator, "/", b"text"))["headers"])
            assert set(headers) == {"Host", "Content-Type", "X-Mine", "Content-Length", "Function-Execution-Id"}

    run(scenario())


def test_an_asgi_function_answers(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"echo": ASGI_ECHO}, "eventrunner.dev/server: asgi")

    async def scenario() -> None:
        async with running_activator(project) as activator:
            assert (await call(activator, body=b"text"))["body"] == "text"

    run(scenario())


def test_requests_are_held_while_the_function_starts_and_all_go_to_the_one_process(project: Project) -> None:
    async def scenario() -> None:
        async with running_activator(project) as activator:
            answers = await asyncio.gather(*(call(activator, body=str(i).encode()) for i in range(50)))
            assert [answer["body"] for answer in answers] == [str(i) for i in range(50)]
            assert len({answer["pid"] for answer in answers}) == 1

    run(scenario())


def test_an_idle_function_is_stopped_and_started_again_on_demand(project: Project) -> None:
    async def scenario() -> None:
        async with running_activator(project) as activator:
            first = (await call(activator))["pid"]
            await until(lambda: not is_alive(first))
            assert (await call(activator))["pid"] != first

    run(scenario())


def test_min_scale_is_kept_without_requests(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"echo": ECHO}, QUICK + ', autoscaling.knative.dev/min-scale: "1"')

    async def scenario() -> None:
        async with running_activator(project) as activator:
            activator.start()
            revision = activator.revisions["echo"]
            await until(lambda: len(revision.replicas) == 1)
            pid = revision.replicas[0].child.pid
            await asyncio.sleep(4)
            assert is_alive(pid)
            os.kill(pid, signal.SIGKILL)
            await until(lambda: [replica.child.pid for replica in revision.replicas] not in ([], [pid]))

    run(scenario())


def test_a_second_replica_comes_when_concurrency_asks_for_it(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"echo": ECHO}, QUICK, concurrency=1)

    async def scenario() -> None:
        async with running_activator(project, Limits(replicas=2)) as activator:
            slow = [call(activator, "/slow?seconds=0.3") for _ in range(20)]
            answers = await asyncio.gather(*slow)
            assert len({answer["pid"] for answer in answers}) == 2

    run(scenario())


def test_a_replica_holds_no_more_requests_than_its_concurrency(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"echo": ECHO}, QUICK, concurrency=2)

    async def scenario() -> None:
        async with running_activator(project, Limits(replicas=1)) as activator:
            await call(activator)
            started = time.monotonic()
            await asyncio.gather(*(call(activator, "/slow?seconds=0.2") for _ in range(6)))
            assert time.monotonic() - started >= 0.6

    run(scenario())


def test_a_killed_function_is_replaced(project: Project) -> None:
    async def scenario() -> None:
        async with running_activator(project) as activator:
            first = (await call(activator))["pid"]
            os.kill(first, signal.SIGKILL)
            await until(lambda: not activator.revisions["echo"].replicas)
            assert (await call(activator))["pid"] != first

    run(scenario())


def test_a_replica_that_refuses_connections_is_not_asked_again(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"echo": ECHO}, QUICK)

    async def scenario() -> None:
        async with running_activator(project) as activator:
            first = (await call(activator))["pid"]
            activator.revisions["echo"].replicas[0].port = 1
            assert (await call(activator))["pid"] != first
            await until(lambda: not is_alive(first))

    run(scenario())


def test_a_request_whose_caller_leaves_frees_its_place(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"echo": ECHO}, QUICK, concurrency=1)

    async def scenario() -> None:
        async with running_activator(project, Limits(replicas=1, stop_seconds=1)) as activator:
            await call(activator)
            holding = asyncio.create_task(call(activator, "/slow?seconds=30"))
            waiting = asyncio.create_task(call(activator))
            await asyncio.sleep(0.2)
            assert not waiting.done()
            waiting.cancel()
            holding.cancel()
            await asyncio.wait([holding, waiting])
            assert activator.revisions["echo"].replicas[0].in_flight == 0

    run(scenario())


def test_a_function_that_cannot_start_is_answered_with_unavailable(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"echo": BROKEN})

    async def scenario() -> None:
        async with running_activator(project) as activator:
            with pytest.raises(Unavailable, match="could not be started"):
                await call(activator)

    run(scenario())
    assert "cannot be imported" in (tmp_path / "logs" / "echo.log").read_text()


def test_a_full_queue_refuses_more(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"echo": ECHO}, QUICK)

    async def scenario() -> None:
        async with running_activator(project, Limits(waiting=3)) as activator:
            answers = await asyncio.gather(*(call(activator) for _ in range(5)), return_exceptions=True)
            assert [isinstance(answer, Unavailable) for answer in answers] == [False, False, False, True, True]

    run(scenario())


def test_an_unknown_service_is_unavailable(project: Project) -> None:
    async def scenario() -> None:
        async with running_activator(project) as activator:
            with pytest.raises(Unavailable, match="no service"):
                await call(activator, service="nobody")

    run(scenario())


def test_closing_lets_a_request_end(project: Project) -> None:
    async def scenario() -> None:
        async with running_activator(project) as activator:
            await call(activator)
            slow = asyncio.create_task(call(activator, "/slow?seconds=1"))
            await asyncio.sleep(0.1)
        assert (await slow)["colour"] == "green"

    run(scenario())


def test_changed_code_takes_over_under_load_and_no_request_fails(project: Project) -> None:
    main = project.function("echo")

    async def scenario() -> None:
        async with running_activator(project) as activator:
            old = (await call(activator))["pid"]
            slow = asyncio.create_task(call(activator, "/slow?seconds=3"))
            loads = [asyncio.create_task(_call_until_new(activator)) for _ in range(4)]
            await asyncio.sleep(0.3)
            main.write_text(ECHO.replace('"colour": os.environ["COLOUR"]', '"colour": "red"'))
            assert await activator.revisions["echo"].replace() >= 1
            assert (await call(activator))["colour"] == "red"
            answers = [answer for load in loads for answer in await load]
            assert {answer["colour"] for answer in answers} == {"green", "red"}
            # What was under way is answered by who had it.
            done = await slow
            assert (done["pid"], done["colour"]) == (old, "green")
            await until(lambda: not is_alive(old))

    run(scenario())


async def _call_until_new(activator: Activator) -> list[dict[str, Any]]:
    answers = [await call(activator)]
    while answers[-1]["colour"] == "green":
        answers.append(await call(activator))
    return answers


def test_code_that_cannot_start_leaves_the_old_one_where_it_is(project: Project) -> None:
    main = project.function("echo")

    async def scenario() -> None:
        async with running_activator(project) as activator:
            old = (await call(activator))["pid"]
            main.write_text(BROKEN)
            with pytest.raises(Unavailable, match="cannot be imported"):
                await activator.revisions["echo"].replace()
            assert (await call(activator))["pid"] == old

    run(scenario())


def test_a_function_without_a_replica_has_none_to_replace(project: Project) -> None:
    async def scenario() -> None:
        async with running_activator(project) as activator:
            assert await activator.revisions["echo"].replace() == 0
            assert not activator.revisions["echo"].replicas

    run(scenario())
