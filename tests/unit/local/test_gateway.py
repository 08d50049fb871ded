"""The gateway in front of a real HTTP server: who gets through, as whom, and what arrives."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from eventrunner.access.access_rules import load_access_rules
from eventrunner.access.authorizer import Authorizer
from eventrunner.access.credentials import Authenticator
from eventrunner.access.identity import Identity, Signer, make_keys
from eventrunner.access.keys import make_key
from eventrunner.access.policy import Policy
from eventrunner.access.tokens import TokenVerifier
from eventrunner.errors import Unavailable
from eventrunner.local.gateway import Gateway
from eventrunner.telemetry import metrics_page
from support_identity import SIGNER, verify
from support_key_server import key_server
from yarl import URL

POLICIES = Path(__file__).parents[3] / "policies"
LIMIT = 100_000

ADMIN, ADMIN_RECORD = make_key("platform", ["admin"], subject="root")
USER, USER_RECORD = make_key("acme", ["user"], subject="alice")
PUBLISHER, PUBLISHER_RECORD = make_key("acme", ["event_publisher"], subject="sensor")


class Keys:
    def __init__(self) -> None:
        self.records = {record.hash: record.to_json() for record in (ADMIN_RECORD, USER_RECORD, PUBLISHER_RECORD)}
        self.away = False

    def get(self, name: str) -> bytes | None:
        if self.away:
            raise Unavailable("NATS is away.")
        return self.records.get(name)


@dataclass
class Echo:
    """Stands behind the gateway: answers what it received, or what the path's last segment asks for."""

    seen: list[web.BaseRequest] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request)
        body = await request.read()
        match request.raw_path.partition("?")[0].rpartition("/")[2]:
            case "large":
                return web.Response(body=b"x" * 3_000_000)
            case "chunked":
                return await self._chunks(request, 3)
            case "broken":
                return await self._chunks(request, -1)
            case "zipped":
                return web.Response(body=gzip.compress(b"text"), headers={"Content-Encoding": "gzip"})
            case "teapot":
                return web.Response(status=418, headers={"X-Left": "1", "Server": "echo", "Keep-Alive": "9"})
        document = {
            "method": request.method,
            "path": request.raw_path,
            "headers": [[name, value] for name, value in request.headers.items()],
            "length": len(body),
        }
        return web.json_response(document)

    async def _chunks(self, request: web.BaseRequest, count: int) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(abs(count)):
            await response.write(b"part;")
        if count < 0:
            assert request.transport is not None
            request.transport.abort()
        return response


class Upstream:
    """Sends `api` and `ingest-http` to the echo; `billing` is away."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        self.services: list[str] = []

    async def send(
        self, service: str, method: str, path_qs: str, headers: Mapping[str, str], body: bytes
    ) -> aiohttp.ClientResponse:
        self.services.append(service)
        if service == "billing" and "unavailable" in path_qs:
            raise Unavailable("starting", retry_after=6.2)
        url = URL(("http://127.0.0.1:1" if service == "billing" else self.url) + path_qs, encoded=True)
        return await self.session.request(method, url, headers=headers, data=body, allow_redirects=False)


@dataclass
class Front:
    port: int
    echo: Echo
    upstream: Upstream
    keys: Keys
    ready: list[bool]

    def call(
        self, method: str, path: str, key: str = "", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        credentials = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            connection.request(method, path, body, {**credentials, **(headers or {})})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def received(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        status, _, body = self.call(*args, **kwargs)
        assert status == 200, body
        document: dict[str, Any] = json.loads(body)
        document["by_name"] = {name.lower(): value for name, value in document["headers"]}
        return document

    def raw(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return answer


async def _start(tokens: TokenVerifier | None = None) -> tuple[Front, Callable[[], Any]]:
    echo, keys, ready = Echo(), Keys(), [True]
    behind = web.ServerRunner(web.Server(echo.handle, access_log=None))
    await behind.setup()
    await web.TCPSite(behind, "127.0.0.1", 0).start()
    upstream = Upstream(f"http://127.0.0.1:{behind.addresses[0][1]}")
    gateway = Gateway(
        load_access_rules(POLICIES / "access-rules.yaml"),
        Authorizer(Authenticator(keys.get, tokens), Policy.from_folder(POLICIES)),
        upstream,
        signer=SIGNER,
        max_body_bytes=LIMIT,
        max_held_bytes=4 * LIMIT,
        max_bytes_by_rule={"consumers-put": 2 * LIMIT},
        is_ready=lambda: ready[0],
    )
    runner = gateway.runner()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    async def stop() -> None:
        await runner.cleanup()
        await upstream.session.close()
        await behind.cleanup()

    return Front(runner.addresses[0][1], echo, upstream, keys, ready), stop


@contextmanager
def served(tokens: TokenVerifier | None = None) -> Iterator[Front]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    front, stop = asyncio.run_coroutine_threadsafe(_start(tokens), loop).result(10)
    yield front
    asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Front]:
    with served() as front:
        yield front


@pytest.fixture
def front(running: Front) -> Front:
    running.echo.seen.clear()
    running.upstream.services.clear()
    running.ready[0], running.keys.away = True, False
    return running


def assert_problem(answer: tuple[int, Mapping[str, str], bytes], status: int) -> dict[str, Any]:
    assert (answer[0], answer[1]["content-type"]) == (status, "application/problem+json")
    document: dict[str, Any] = json.loads(answer[2])
    assert document["status"] == status
    assert document.keys() >= {"type", "title", "detail"}
    return document


def test_a_request_arrives_whole_and_signed(front):
    got = front.received(
        "PUT", "/api/v1/rules/acme/flights?dry=%2F1&a=b", USER, b"rule", {"X-Custom": "kept", "Content-Type": "a/b"}
    )
    assert (got["method"], got["path"], got["length"]) == ("PUT", "/api/v1/rules/acme/flights?dry=%2F1&a=b", 4)
    assert got["by_name"]["x-custom"] == "kept"
    assert got["by_name"]["content-type"] == "a/b"
    assert verify(got["by_name"]["authorization"]) == Identity("alice", "acme", ("user",))
    assert front.upstream.services == ["api"]


def test_events_go_to_ingest_with_the_publishers_identity(front):
    got = front.received("POST", "/api/v1/events", PUBLISHER, b"{}")
    assert verify(got["by_name"]["authorization"]) == Identity("sensor", "acme", ("event_publisher",))
    assert front.upstream.services == ["ingest-http"]


def test_what_a_caller_says_of_itself_is_not_forwarded(front):
    forged = {
        "X-Api-Key": USER,
        "Cookie": "session=1",
        "Forwarded": "for=1.2.3.4",
        "X-Forwarded-For": "1.2.3.4",
        "X-Forwarded-Host": "evil",
        "Proxy-Authorization": "Basic x",
        "Connection": "X-Hop, keep-alive",
        "X-Hop": "1",
    }
    got = front.received("GET", "/api/v1/rules/acme", headers=forged)["by_name"]
    assert got.keys().isdisjoint({"x-api-key", "cookie", "forwarded", "proxy-authorization", "x-hop"})
    assert got["x-forwarded-for"] == "127.0.0.1"
    assert got["x-forwarded-host"] == f"127.0.0.1:{front.port}"
    assert USER not in str(got)


def test_a_name_with_an_underscore_is_not_forwarded(front):
    headers = {"SCRIPT_NAME": "/api", "path_info": "/metrics", "X_Forwarded_For": "192.0.2.1", "X-Kept": "1"}
    got = front.received("GET", "/api/v1/rules/acme", USER, headers=headers)["by_name"]
    assert [name for name in got if "_" in name] == []
    assert got["x-kept"] == "1"


def test_what_any_connection_header_names_is_not_forwarded(front):
    lines = [
        "GET /api/v1/rules/acme HTTP/1.1", "Host: x", f"Authorization: Bearer {USER}", "Connection: close",
        "Connection: X-One, x-two", "X-One: 1", "X-Two: 2", "X-Three: 3", "", "",
    ]  # fmt: skip
    assert b"200" in front.raw("\r\n".join(lines).encode()).splitlines()[0]
    arrived = {name.lower() for name in front.echo.seen[0].headers}
    assert {name for name in arrived if name in ("x-one", "x-two", "x-three")} == {"x-three"}


def test_a_second_authorization_header_does_not_get_through(front):
    lines = [
        "GET /api/v1/rules/acme HTTP/1.1", "Host: x", f"Authorization: Bearer {USER}", "Authorization: Bearer forged",
        "Connection: close", "", "",
    ]  # fmt: skip
    answer = front.raw("\r\n".join(lines).encode())
    assert b"200" in answer.splitlines()[0]
    assert [name for name in front.echo.seen[0].headers if name.lower() == "authorization"] == ["Authorization"]
    assert b"forged" not in answer


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer forged"}, {"X-Api-Key": "er_unknown"}])
def test_the_description_of_the_api_is_everybodys_and_arrives_from_nobody(front, headers):
    for key in ("", USER):
        got = front.received("GET", "/api/v1/openapi.json", key, headers=headers)
        assert verify(got["by_name"]["authorization"]) == Identity("", "", ())
        assert "x-api-key" not in got["by_name"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer er_" + "a" * 40},
        {"Authorization": "Basic {user}"},
        {"Authorization": "Bearer a.b.c"},
        {"X-Api-Key": "er_" + "a" * 40},
        {"Cookie": "key={user}"},
    ],
)
def test_an_unknown_caller_gets_401_and_how_to_do_better(front, headers):
    # The keys are made at random, and tests are told apart by their parameters.
    headers = {name: value.replace("{user}", USER) for name, value in headers.items()}
    answer = front.call("GET", "/api/v1/rules/acme", headers=headers)
    assert_problem(answer, 401)
    assert answer[1]["www-authenticate"] == 'Bearer realm="eventrunner"'
    assert front.echo.seen == []


@pytest.mark.parametrize(
    ("holder", "method", "path", "status"),
    [
        ("user", "GET", "/api/v1/rules/acme", 200),
        ("user", "GET", "/api/v1/rules/globex", 403),
        ("user", "GET", "/api/v1/rules/ACME", 403),
        ("user", "POST", "/api/v1/events", 403),
        ("user", "PUT", "/api/v1/tenants/acme", 403),
        ("user", "POST", "/api/v1/tenants/acme/keys", 403),
        ("user", "PUT", "/api/v1/plans/standard", 403),
        ("user", "GET", "/api/v1/plans/standard", 200),
        ("user", "POST", "/api/v1/billing/close", 403),
        ("publisher", "POST", "/api/v1/events", 200),
        ("publisher", "GET", "/api/v1/events/acme", 403),
        ("admin", "GET", "/api/v1/rules/globex", 200),
        ("admin", "PUT", "/api/v1/tenants/acme", 200),
        ("admin", "POST", "/api/v1/events?tenant=acme", 200),
    ],
)
def test_the_policy_decides(front, holder, method, path, status):
    answer = front.call(method, path, {"user": USER, "publisher": PUBLISHER, "admin": ADMIN}[holder])
    assert answer[0] == status
    if status == 403:
        problem = assert_problem(answer, 403)
        assert str(problem["detail"]).startswith("You lack the permission '")
        assert front.echo.seen == []


def test_a_refusal_of_the_policy_is_logged_and_both_answers_are_counted(front, caplog):
    caplog.set_level(logging.INFO)
    before = counted()
    assert front.call("PUT", "/api/v1/rules/globex/r?secret=1", USER)[0] == 403
    assert front.call("PUT", "/api/v1/rules/acme/r", USER)[0] == 200
    (text,) = [record.getMessage() for record in caplog.records if record.name == "eventrunner.decisions"]
    line = json.loads(text)
    assert {name: line[name] for name in ("subject", "of", "resource", "action", "tenant", "answer", "why")} == {
        "subject": "alice",
        "of": "acme",
        "resource": "rules",
        "action": "put",
        "tenant": "globex",
        "answer": "denied",
        "why": "the policy does not allow it",
    }
    assert counted() == {answer: number + 1 for answer, number in before.items()}


def test_a_caller_who_is_not_known_is_logged_without_what_it_sent(front, caplog):
    caplog.set_level(logging.INFO)
    key = "er_" + "a" * 40
    assert front.call("GET", "/api/v1/rules/acme", key)[0] == 401
    (text,) = [record.getMessage() for record in caplog.records if record.name == "eventrunner.decisions"]
    line = json.loads(text)
    assert (line["key"], line["answer"], line["why"]) == ("", "denied", "The API key is not known.")
    assert key not in caplog.text


def counted() -> dict[str, float]:
    text = metrics_page().decode()
    # An answer that has not been given yet is not there.
    counts = {"allowed": 0.0, "denied": 0.0}
    for answer, number in re.findall(r'^eventrunner_decisions_total{answer="(\w+)"} (.*)$', text, re.MULTILINE):
        counts[answer] = float(number)
    return counts


@pytest.mark.parametrize(
    "path",
    [
        "//api/v1/rules/acme",
        "/api/v1/rules/acme/../globex",
        "/api/v1/rules/acme/%2e%2e/globex",
        "/api/v1/rules/acme%2Fx",
        "/api/v1/rules/%61cme",
        "/api/v1/./rules/acme",
        "http://127.0.0.1/api/v1/rules/acme",
    ],
)
def test_a_path_with_two_readings_gets_400(front, path):
    assert_problem(front.call("GET", path, USER), 400)
    assert front.echo.seen == []


@pytest.mark.parametrize(
    "path", ["/", "/API/v1/rules/acme", "/api/v1/rules/acme/", "/api/v1/nothing/acme", "/dashboard"]
)
def test_what_no_rule_names_is_not_there(front, path):
    assert_problem(front.call("GET", path, ADMIN), 404)
    assert front.echo.seen == []


def test_the_portal_says_where_to_look_instead(front):
    assert "openapi.json" in assert_problem(front.call("GET", "/portal/"), 404)["detail"]


def test_a_wrong_method_gets_405_with_the_right_ones(front):
    answer = front.call("PATCH", "/api/v1/tenants/acme", ADMIN)
    assert_problem(answer, 405)
    assert answer[1]["allow"] == "DELETE, GET, PUT"


def test_an_announced_body_over_the_limit_is_refused_before_it_is_sent(front):
    lines = [
        "POST /api/v1/events HTTP/1.1",
        "Host: x",
        f"X-Api-Key: {PUBLISHER}",
        f"Content-Length: {LIMIT + 1}",
        "",
        "",
    ]
    answer = front.raw("\r\n".join(lines).encode())
    assert b" 413 " in answer.splitlines()[0]
    assert front.echo.seen == []


def test_a_body_without_a_length_is_cut_at_the_limit(front):
    answer = front.call("POST", "/api/v1/events", PUBLISHER, iter([b"x" * 30_000] * 4))
    assert_problem(answer, 413)
    assert front.echo.seen == []


def test_a_call_may_have_a_limit_of_its_own(front):
    path = "/api/v1/consumers/acme/c"
    assert front.received("PUT", path, USER, b"x" * 2 * LIMIT)["length"] == 2 * LIMIT
    assert front.call("PUT", path, USER, b"x" * (2 * LIMIT + 1))[0] == 413
    assert front.call("PUT", "/api/v1/rules/acme/c", USER, b"x" * (LIMIT + 1))[0] == 413


def test_a_body_at_the_limit_passes(front):
    assert front.received("POST", "/api/v1/events", PUBLISHER, b"x" * LIMIT)["length"] == LIMIT
    chunks = iter([b"x" * (LIMIT // 4)] * 4)
    assert front.received("POST", "/api/v1/events", PUBLISHER, chunks)["length"] == LIMIT


def test_a_compressed_body_passes_untouched(front):
    packed = gzip.compress(b"x" * 10_000_000)
    assert len(packed) < LIMIT
    got = front.call("POST", "/api/v1/events/", PUBLISHER, packed, {"Content-Encoding": "gzip"})
    assert got[0] == 404
    front.call("POST", "/api/v1/events", PUBLISHER, packed, {"Content-Encoding": "gzip"})
    assert front.echo.seen[0].headers["Content-Encoding"] == "gzip"
    assert front.echo.seen[0].headers["Content-Length"] == str(len(packed))


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(front):
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as connection:
        head = ["POST /api/v1/events HTTP/1.1", "Host: x", f"X-Api-Key: {PUBLISHER}", "Content-Length: 2"]
        connection.sendall("\r\n".join([*head, "Expect: 100-continue", "", ""]).encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"{}")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_waiting_client_that_may_not_send_is_not_told_to_go_on(front):
    head = ["POST /api/v1/events HTTP/1.1", "Host: x", "Content-Length: 2", "Expect: 100-continue", "Connection: close"]
    assert front.raw("\r\n".join([*head, "", ""]).encode()).startswith(b"HTTP/1.1 401 ")


def test_a_body_that_ends_early_reaches_nobody(front):
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as connection:
        head = ["POST /api/v1/events HTTP/1.1", "Host: x", f"X-Api-Key: {PUBLISHER}", "Content-Length: 100", "", ""]
        connection.sendall("\r\n".join(head).encode() + b"only this")
    time.sleep(0.1)
    assert front.echo.seen == []


def test_bodies_that_are_never_finished_leave_room_for_other_callers(front):
    head = ["POST /api/v1/events HTTP/1.1", "Host: x", f"X-Api-Key: {PUBLISHER}", f"Content-Length: {LIMIT}", "", ""]
    stalled = [socket.create_connection(("127.0.0.1", front.port), timeout=10) for _ in range(2)]
    try:
        for connection in stalled:
            connection.sendall("\r\n".join(head).encode() + b"x" * (LIMIT - 1))
        deadline = time.monotonic() + 5
        while (answer := front.call("POST", "/api/v1/events", PUBLISHER, b"x" * 100))[0] == 200:
            assert time.monotonic() < deadline, "the caller was never refused"
        assert_problem(answer, 503)
        assert "retry-after" in answer[1]
        assert front.call("POST", "/api/v1/events", ADMIN, b"x" * LIMIT)[0] == 200
    finally:
        for connection in stalled:
            connection.close()
    while front.call("POST", "/api/v1/events", PUBLISHER, b"x" * LIMIT)[0] != 200:
        assert time.monotonic() < deadline, "what the two held never came back"


@pytest.mark.parametrize(
    "framing",
    [
        ["Content-Length: 2", "Transfer-Encoding: chunked"],
        ["Content-Length: 2", "Content-Length: 3"],
        ["Content-Length: -1"],
        ["Transfer-Encoding: gzip, x"],
    ],
)
def test_a_body_with_two_lengths_is_not_forwarded(front, framing):
    head = ["POST /api/v1/events HTTP/1.1", "Host: x", f"X-Api-Key: {PUBLISHER}", *framing, "Connection: close"]
    answer = front.raw("\r\n".join([*head, "", ""]).encode() + b"{}")
    assert b" 400 " in answer.splitlines()[0]
    assert front.echo.seen == []


def test_a_service_that_is_away_is_503_with_when_to_come_back(front):
    answer = front.call("GET", "/api/v1/usage/acme", USER)
    assert_problem(answer, 503)
    assert int(answer[1]["retry-after"]) >= 1


def test_a_service_that_says_when_to_come_back_is_heard(front):
    answer = front.call("GET", "/api/v1/invoice/acme/unavailable", USER)
    assert_problem(answer, 503)
    assert answer[1]["retry-after"] == "7"


def test_a_registry_that_is_away_is_503(front):
    front.keys.away = True
    assert_problem(front.call("GET", "/api/v1/rules/acme", USER), 503)


def test_answers_pass_as_they_are(front):
    status, headers, _ = front.call("GET", "/api/v1/rules/acme/teapot", USER)
    assert (status, headers["x-left"]) == (418, "1")
    assert headers.get("server") != "echo"
    assert "keep-alive" not in headers


def test_a_long_answer_arrives_whole(front):
    assert front.call("GET", "/api/v1/rules/acme/large", USER)[2] == b"x" * 3_000_000


def test_an_open_ended_answer_is_streamed(front):
    status, headers, body = front.call("GET", "/api/v1/rules/acme/chunked", USER)
    assert (status, headers["transfer-encoding"], body) == (200, "chunked", b"part;" * 3)


def test_a_compressed_answer_stays_compressed(front):
    _, headers, body = front.call("GET", "/api/v1/rules/acme/zipped", USER)
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == b"text"


def test_an_answer_that_breaks_off_is_not_passed_off_as_whole(front):
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        front.call("GET", "/api/v1/rules/acme/broken", USER)


def test_health_readiness_and_metrics_are_the_gateways_own(front):
    assert front.call("GET", "/healthz")[0] == 200
    assert front.call("GET", "/readyz")[0] == 200
    front.ready[0] = False
    assert front.call("GET", "/readyz")[0] == 503
    front.call("GET", "/api/v1/rules/acme", USER)
    metrics = front.call("GET", "/metrics", ADMIN)[2].decode()
    assert 'eventrunner_gateway_requests_total{rule="rules-list",status="200"}' in metrics
    assert front.echo.seen[1:] == []


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/api/v1/openapi.json"])
def test_who_needs_no_credentials_can_send_next_to_nothing(front, path):
    assert_problem(front.call("GET", path, USER, b"x" * 4097), 413)
    assert_problem(front.call("GET", path, "", iter([b"x" * 4096, b"x"])), 413)
    head = [f"GET {path} HTTP/1.1", "Host: x", f"Content-Length: {LIMIT}", "Connection: close", "", ""]
    assert b" 413 " in front.raw("\r\n".join(head).encode()).splitlines()[0]
    assert front.echo.seen == []
    assert front.call("GET", path, "", b"x" * 4096)[0] == 200


def test_metrics_are_an_operators(front):
    """Also on the loopback address: a proxy that opens this port to others sends from there."""
    assert_problem(front.call("GET", "/metrics"), 401)
    for key in (USER, PUBLISHER):
        assert_problem(front.call("GET", "/metrics", key), 403)
    assert front.echo.seen == []


def test_one_connection_carries_many_requests(front):
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=10)
    for number in range(20):
        key = USER if number % 2 else PUBLISHER
        connection.request("GET", "/api/v1/rules/acme", headers={"X-Api-Key": key})
        response = connection.getresponse()
        response.read()
        assert response.status == (200 if number % 2 else 403)
    connection.close()


@pytest.mark.alone
def test_an_identity_provider_that_is_slow_holds_up_its_own_callers_only():
    keys = make_keys("login")
    claims = {"iss": "login", "aud": "eventrunner-api", "sub": "bob", "tenant": "acme", "roles": ["user"]}
    private = jwt.PyJWK(json.loads(keys)["keys"][0]).key
    token = jwt.encode({**claims, "exp": int(time.time()) + 60}, private, "ES256", headers={"kid": "login"})
    with key_server(Signer(keys).public_keys) as provider:
        provider.seconds = 1.0
        with served(TokenVerifier(provider.url, ["login"])) as front:
            statuses: list[int] = []
            waiting = threading.Thread(
                target=lambda: statuses.append(front.call("GET", "/api/v1/events/acme", token)[0])
            )
            waiting.start()
            slowest, count = 0.0, 0
            while waiting.is_alive():
                started = time.monotonic()
                assert front.call("GET", "/api/v1/events/acme", USER)[0] == 200
                slowest, count = max(slowest, time.monotonic() - started), count + 1
            assert (statuses, provider.asked) == ([200], 1)
            assert count > 5
            assert slowest < 0.5
