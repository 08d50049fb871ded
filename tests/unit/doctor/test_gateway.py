"""The check of a gateway covers every call, and finds a gateway that lets too much through."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

from eventrunner.access.access_rules import load_access_rules
from eventrunner.doctor.gateway import Credentials, Probe, Result, check, read_probes
from eventrunner.doctor.raw_http import RawRequest, send

POLICIES = Path(__file__).parents[3] / "policies"
KNOWN = Credentials("acme", "globex", "er_user", "er_publisher", "er_admin", "er_deleted")
PROBES = read_probes(KNOWN)


async def _check(status: int | None, probes: list[Probe]) -> list[Result]:
    """Against a gateway that answers everything alike, whatever it is; None closes the connection."""

    handling: list[asyncio.Task[None] | None] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handling.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            if status is not None:
                writer.write(f"HTTP/1.1 {status} x\r\nConnection: close\r\n\r\n".encode())
                writer.write_eof()
                while await reader.read(65536):
                    pass
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        results = await check(f"http://127.0.0.1:{port}", probes, lambda result: None)
        await asyncio.gather(*filter(None, handling))
        return results


def test_every_call_of_the_api_is_tried() -> None:
    rules = [rule for rule in load_access_rules(POLICIES / "access-rules.yaml") if rule.permission is not None]
    tried = [(probe.request.method, probe.request.target.partition("?")[0]) for probe in PROBES]
    missing = [rule.id for rule in rules if not _tried(rule, tried)]
    assert missing == []


def _tried(rule: object, tried: list[tuple[str, str]]) -> bool:
    return any(method in rule.methods and rule.pattern.fullmatch(path) for method, path in tried)  # type: ignore[attr-defined]


def test_there_are_enough_requests_and_none_twice() -> None:
    assert len(PROBES) >= 150
    assert len({probe.name for probe in PROBES}) == len(PROBES)


def test_a_gateway_that_lets_everything_through_is_found_out() -> None:
    wrong = _wrong(asyncio.run(_check(200, PROBES)))
    refusals = {probe.name for probe in PROBES if not _may_pass(probe)}
    assert len(refusals) > 350
    assert wrong >= refusals


def test_a_gateway_that_lets_nothing_through_is_found_out() -> None:
    wrong = _wrong(asyncio.run(_check(403, PROBES)))
    allowed = {probe.name for probe in PROBES if 403 not in probe.expected}
    assert len(allowed) > 200
    assert wrong == allowed


def _wrong(results: list[Result]) -> set[str]:
    return {result.probe.name for result in results if not result.passed}


def _may_pass(probe: Probe) -> bool:
    return any(status < 400 for status in probe.expected)


def test_a_connection_that_is_closed_is_no_answer() -> None:
    (result,) = asyncio.run(_check(None, [Probe("x", RawRequest("GET", "/healthz"), (200,))]))
    assert (result.answer.status, result.passed) == (0, False)


def test_an_answer_before_a_reset_is_not_lost() -> None:
    """As Oathkeeper closes after a 413 of ingest: at once, with most of the body unread."""

    def refuse(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1024)
            connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    async def body() -> set[int]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            statuses = set()
            for _ in range(20):
                refusing = asyncio.create_task(asyncio.to_thread(refuse, server))
                statuses.add((await send(url, RawRequest("POST", "/", size=10**8))).status)
                await refusing
            return statuses

    assert asyncio.run(body()) == {413}


def test_a_request_goes_out_as_it_is_written() -> None:
    async def run() -> bytes:
        seen = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.set_result(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        answer = await send(f"http://127.0.0.1:{port}", RawRequest("get", "//a/../%2e%2E\\b", {"X-Odd": '"'}))
        server.close()
        assert answer.status == 204
        return bytes(await seen)

    head = asyncio.run(run())
    assert head.startswith(b"get //a/../%2e%2E\\b HTTP/1.1\r\n")
    assert b'X-Odd: "\r\n' in head
