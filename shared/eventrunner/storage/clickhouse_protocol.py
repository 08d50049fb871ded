"""What a request of ClickHouse's HTTP interface asks for, and how its answers look: no I/O.

https://clickhouse.com/docs/interfaces/http
"""

from __future__ import annotations

import gzip
import importlib
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from eventrunner.errors import InvalidInput
from eventrunner.events.packing import unpack

__all__ = [
    "BAD_REQUEST_CODE",
    "ClickHouseError",
    "Insert",
    "Statement",
    "decode_body",
    "read_statement",
    "split_insert",
    "status_of",
]

_UNPACK_LIMIT = 2**31
"""Bytes; ClickHouse itself sets no limit."""

BAD_REQUEST_CODE = 36
"""BAD_ARGUMENTS, for requests that are wrong before the engine sees them."""

# Parameters of the transport, which are no settings of a query.
_TRANSPORT = frozenset(
    {
        *("query", "database", "default_format", "user", "password", "quota_key", "role", "query_id"),
        *("session_id", "session_timeout", "session_check", "buffer_size", "wait_end_of_query", "stacktrace"),
        *("compress", "decompress", "enable_http_compression", "http_zlib_compression_level"),
        *("client_protocol_version", "cancel_http_readonly_queries_on_client_close"),
        *("send_progress_in_http_headers", "http_headers_progress_interval_ms"),
    }
)

# INSERT … FORMAT <name>, then the rows; quoted text in between may hold anything.
_INSERT = re.compile(
    rb"""\s*(?P<head>INSERT\s+INTO\s(?:[^'"`]|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`)*?)
    \bFORMAT\s+(?P<format>\w+)[ \t\r\f\v]*;?\n?""",
    re.IGNORECASE | re.VERBOSE,
)
_INLINE = re.compile(rb"\b(?:SELECT|VALUES|INFILE|WITH)\b", re.IGNORECASE)
_SETTINGS = re.compile(rb"\bSETTINGS\b", re.IGNORECASE)
_HEAD_LIMIT = 64 * 1024

# As src/Server/HTTP/exceptionCodeToHTTPStatus.cpp of ClickHouse groups them.
_STATUS_BY_CODE: dict[int, HTTPStatus] = {
    **dict.fromkeys((194, 192, 193, 516), HTTPStatus.FORBIDDEN),
    **dict.fromkeys(
        (6, 25, 26, 27, 33, 36, 38, 41, 42, 43, 47, 52, 53, 62, 69, 70, 72, 73, 115, 117, 130, 131, 149, 164, 349, 457),
        HTTPStatus.BAD_REQUEST,
    ),
    **dict.fromkeys((16, 46, 60, 80, 81), HTTPStatus.NOT_FOUND),
    48: HTTPStatus.NOT_IMPLEMENTED,
    159: HTTPStatus.REQUEST_TIMEOUT,
    241: HTTPStatus.INTERNAL_SERVER_ERROR,
}


class ClickHouseError(Exception):
    """A statement that failed; the text is ClickHouse's own and names the code."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        match = re.search(r"Code: (\d+)", text)
        self.code = code if code is not None else int(match[1]) if match else 1002
        self.text = text if match else f"Code: {self.code}. DB::Exception: {text}"


@dataclass(frozen=True, slots=True)
class Statement:
    sql: bytes
    database: str = ""
    output_format: str = "TabSeparated"
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Values of `{name:Type}` placeholders, escaped as ClickHouse wants them."""
    query_id: str = ""


@dataclass(frozen=True, slots=True)
class Insert:
    head: bytes
    """`INSERT INTO table (columns)`."""
    settings: bytes
    """`SETTINGS …`, or nothing."""
    input_format: str
    rows: memoryview

    def from_file(self, path: str) -> bytes:
        """The statement that reads its rows from a file."""
        return b"%s FROM INFILE '%s' %s FORMAT %s" % (
            self.head,
            path.encode(),
            self.settings,
            self.input_format.encode(),
        )


def read_statement(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Statement:
    """The statement is the `query` parameter and then the body. A GET may only read."""
    arguments = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True, errors="surrogateescape"))
    if headers.get("Content-Type", "").startswith("multipart/form-data"):
        arguments |= _form_fields(headers["Content-Type"], body)
        body = b""
    query = arguments.get("query", "").encode(errors="surrogateescape")
    settings = {
        name: value for name, value in arguments.items() if name not in _TRANSPORT and not name.startswith("param_")
    }
    if method != "POST":
        settings.setdefault("readonly", "2")
    return Statement(
        sql=query + b"\n" + body if query and body else query or body,
        database=arguments.get("database", headers.get("X-ClickHouse-Database", "")),
        output_format=arguments.get("default_format", headers.get("X-ClickHouse-Format", "TabSeparated")),
        settings=settings,
        parameters={
            name.removeprefix("param_"): value for name, value in arguments.items() if name.startswith("param_")
        },
        query_id=arguments.get("query_id", ""),
    )


def split_insert(sql: bytes) -> Insert | None:
    """Parts an INSERT from its rows. None for anything else, and for rows that are part of the SQL (VALUES, SELECT)."""
    match = _INSERT.match(sql, 0, _HEAD_LIMIT)
    if match is None or _INLINE.search(match["head"]):
        return None
    head = match["head"]
    settings = _SETTINGS.search(head)
    cut = settings.start() if settings else len(head)
    return Insert(head[:cut], head[cut:], match["format"].decode(), memoryview(sql)[match.end() :])


def decode_body(body: bytes, encoding: str) -> bytes:
    """Undoes Content-Encoding. Raises ClickHouseError for damage and for encodings that are not known here."""
    try:
        match encoding.strip().lower():
            case "" | "identity":
                return body
            case "gzip":
                return gzip.decompress(body)
            case "deflate":
                return zlib.decompress(body)
            case "lz4":
                return bytes(importlib.import_module("lz4.frame").decompress(body))
            case "zstd":
                return unpack(body, _UNPACK_LIMIT)
    except (ImportError, OSError, EOFError, RuntimeError, ValueError, zlib.error, InvalidInput) as error:
        raise ClickHouseError(f"The body is not readable as {encoding}: {error}.", BAD_REQUEST_CODE) from error
    raise ClickHouseError(f"Unknown content encoding {encoding!r}.", BAD_REQUEST_CODE)


def status_of(code: int) -> HTTPStatus:
    """The HTTP status that goes with a ClickHouse error code."""
    return _STATUS_BY_CODE.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)


def _form_fields(content_type: str, body: bytes) -> dict[str, str]:
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    if not message.is_multipart():
        raise ClickHouseError("The form cannot be read.", BAD_REQUEST_CODE)
    fields = {}
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            fields[name] = payload.decode(errors="surrogateescape")
    return fields
