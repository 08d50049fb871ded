"""The embedded ClickHouse, asked by the client that production uses and by hand."""

from __future__ import annotations

import gzip
import http.client
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from support import small_disk
from support_clickhouse import ChdbProcess, chdb_process


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbProcess]:
    with chdb_process(tmp_path_factory.mktemp("chdb")) as process:
        yield process


@pytest.fixture
def client(server: ChdbProcess) -> Iterator[Any]:
    connection = connect(server)
    connection.command("CREATE OR REPLACE TABLE t (a String, n UInt64) ENGINE = MergeTree ORDER BY n")
    yield connection
    connection.close()


def connect(server: ChdbProcess, **options: Any) -> Any:
    address = urlsplit(server.url)
    return clickhouse_connect.get_client(host=address.hostname, port=address.port, **options)


def ask(server: ChdbProcess, method: str, target: str, body: bytes = b"", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    response.text = response.read().decode()  # type: ignore[attr-defined]
    connection.close()
    return response


@pytest.mark.parametrize(
    "request_bytes",
    [b"X-ClickHouse-Key: PLANTED\r\n\r\n", b"GET /?password=PLANTED HTTP/x\r\n\r\n", b"PLANTED / HTTP/1.1\r\n\r\n"],
)
def test_what_cannot_be_read_is_neither_sent_back_nor_logged(server: ChdbProcess, request_bytes: bytes) -> None:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(request_bytes)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))
    assert answer.endswith(b"\r\n\r\nThe request cannot be read as HTTP/1.1.\n")
    assert b"PLANTED" not in answer


def test_the_clients_own_handshake_finds_a_server_in_utc(client: Any) -> None:
    assert client.ping()
    assert str(client.server_tz) == "UTC"


def test_parameters_arrive_whatever_is_in_them(client: Any) -> None:
    text = "it's \\ a\ttab,\na line, ü and {x:String}"
    assert client.query("SELECT {a:String}, {b:Int64}", {"a": text, "b": -(2**63)}).result_rows == [(text, -(2**63))]


def test_parameters_too_long_for_a_url_come_as_a_form(server: ChdbProcess) -> None:
    client = connect(server, form_encode_query_params=True)
    assert client.query("SELECT length({a:String})", {"a": "x" * 300_000}).result_rows == [(300_000,)]


def test_columns_are_inserted_and_read_back(client: Any) -> None:
    client.insert("t", [["x", "y"], [1, 2**64 - 1]], column_names=["a", "n"], column_oriented=True)
    assert client.query("SELECT a, n FROM t ORDER BY n").result_rows == [("x", 1), ("y", 2**64 - 1)]


@pytest.mark.parametrize("compression", ["gzip", "lz4", "zstd"])
def test_compressed_inserts_are_taken(server: ChdbProcess, client: Any, compression: str) -> None:
    connect(server, compress=compression).insert("t", [["x", 1]], column_names=["a", "n"])
    assert client.command("SELECT count() FROM t") == 1


@pytest.mark.parametrize(
    ("format", "rows"),
    [
        ("JSONEachRow", b'[{"a": "x", "n": 1}, {"a": "FORMAT TSV", "n": 2}]'),
        ("JSONEachRow", b'{"a": "x", "n": 1}\n{"a": "y", "n": 2}\n'),
        ("TabSeparated", b"x\t1\ny\t2\n"),
        ("CSV", b'"x",1\n"y;\n",2\n'),
    ],
)
def test_rows_of_any_format_are_taken(client: Any, format: str, rows: bytes) -> None:
    client.raw_insert("t", column_names=["a", "n"], insert_block=rows, fmt=format)
    assert client.command("SELECT sum(n) FROM t") == 3


def test_rows_may_be_part_of_the_statement(client: Any) -> None:
    client.command("INSERT INTO t VALUES ('FORMAT CSV', 1), ('x', 2)")
    client.command("INSERT INTO t SELECT 'y', number FROM numbers(3)")
    assert client.command("SELECT count() FROM t") == 5


def test_settings_of_a_request_do_not_stay(server: ChdbProcess, client: Any) -> None:
    limited = connect(server, settings={"max_result_rows": "1"})
    with pytest.raises(DatabaseError):
        limited.query("SELECT number FROM numbers(10)")
    assert len(client.query("SELECT number FROM numbers(10)").result_rows) == 10


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELECT nope", 47, 400),
        ("SELEC 1", 62, 400),
        ("SELECT * FROM nope", 60, 404),
        ("SELECT * FROM nope.t", 81, 404),
        ("SELECT throwIf(1)", 395, 500),
    ],
)
def test_errors_carry_clickhouses_code(server: ChdbProcess, sql: str, code: int, status: int) -> None:
    response = ask(server, "POST", "/", sql.encode())
    assert response.status == status
    assert response.headers["X-ClickHouse-Exception-Code"] == str(code)
    assert response.text.startswith(f"Code: {code}. DB::Exception")  # type: ignore[attr-defined]


def test_a_block_that_does_not_convert_changes_nothing(client: Any) -> None:
    rows = [["x", "y"], ["1", "not a number"]]
    with pytest.raises(DatabaseError) as caught:
        client.insert("t", rows, column_names=["a", "n"], column_type_names=["String", "String"], column_oriented=True)
    assert caught.value.code == 6
    assert client.command("SELECT count() FROM t") == 0


def test_an_unknown_setting_is_refused(server: ChdbProcess) -> None:
    assert ask(server, "POST", "/?nope=1&query=SELECT+1").headers["X-ClickHouse-Exception-Code"] == "115"


def test_a_get_may_only_read(server: ChdbProcess, client: Any) -> None:
    assert ask(server, "GET", "/?query=SELECT+1").text == "1\n"  # type: ignore[attr-defined]
    drop = ask(server, "GET", f"/?query={quote('DROP TABLE t')}")
    assert drop.headers["X-ClickHouse-Exception-Code"] == "164"


def test_a_web_page_of_another_site_gets_nothing(server: ChdbProcess) -> None:
    assert ask(server, "POST", "/", b"SELECT 1", Origin="https://example.com").status == 403


def test_a_damaged_body_is_refused(server: ChdbProcess) -> None:
    body = gzip.compress(b"SELECT 1")[:-3]
    assert ask(server, "POST", "/", body, Content_Encoding="gzip").status == 400
    assert ask(server, "POST", "/", b"SELECT 1", Content_Encoding="snappy").status == 400


def test_ping_answers_without_the_engine(server: ChdbProcess) -> None:
    response = ask(server, "GET", "/ping")
    assert (response.status, response.text) == (200, "Ok.\n")  # type: ignore[attr-defined]
    assert "Date" in response.headers


def test_many_clients_read_and_write_at_once(server: ChdbProcess, client: Any) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            mine = connect(server, autogenerate_session_id=False)
            for step in range(10):
                mine.insert("t", [["x", number * 10 + step]], column_names=["a", "n"])
                mine.query("SELECT a, count() FROM t GROUP BY a")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert client.command("SELECT count(), uniqExact(n) FROM t") == ["80", "80"]


def test_what_was_written_survives_a_kill_and_a_stop(server: ChdbProcess) -> None:
    connect(server).command("CREATE TABLE IF NOT EXISTS kept (n UInt64) ENGINE = MergeTree ORDER BY n")
    for signal_number, count in ((signal.SIGKILL, 1), (signal.SIGTERM, 2)):
        connect(server).insert("kept", [[count]], column_names=["n"])
        code = server.stop(signal_number)
        server.start()
        assert connect(server).command("SELECT count() FROM kept") == count
    assert code == 0


def test_a_full_disk_takes_no_change_of_the_schema_and_spoils_none(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    create = "CREATE TABLE {} (n UInt64) ENGINE = MergeTree ORDER BY n"
    with small_disk(folder, 64), chdb_process(folder / "chdb") as process:
        client = connect(process)
        client.command(create.format("before"))
        filler = folder / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(folder).free - 4096))
        for statement in (create.format("t"), "alter table before add column m UInt64"):
            with pytest.raises(DatabaseError, match="243"):
                client.command(statement)
        filler.unlink()
        client.command(create.format("t"))
        client.close()
        process.stop(signal.SIGKILL)
        process.start()
        client = connect(process)
        assert client.command("SELECT count() FROM t") == client.command("SELECT count() FROM before") == 0
        client.close()


def test_it_costs_next_to_nothing_while_nobody_asks(server: ChdbProcess) -> None:
    time.sleep(1)
    before = cpu_seconds(server.pid)
    time.sleep(3)
    assert (cpu_seconds(server.pid) - before) / 3 < 0.05


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
