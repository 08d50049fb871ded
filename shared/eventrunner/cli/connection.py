"""Where the command line finds the platform and its key."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from eventrunner.errors import ConfigurationError, EventRunnerError, Unavailable
from eventrunner.settings import Settings

__all__ = ["DEFAULT_DATA_DIR", "Api", "ApiError", "Connection", "find_connection"]

DEFAULT_DATA_DIR = Path(".eventrunner")

_FIELDS = 10
"""Wrong fields that are named at most."""
_SILENCE_SECONDS = 60.0
"""A stream that is alive says something more often."""


@dataclass(eq=False)
class ApiError(EventRunnerError):
    """The platform answered with an error; the detail is the platform's own."""

    http_status: int = 0
    """Status of the answer."""

    code = "api-error"


@dataclass(frozen=True, slots=True)
class Connection:
    url: str
    key: str


def find_connection(data_dir: Path = DEFAULT_DATA_DIR) -> Connection:
    """EVENTRUNNER_URL and EVENTRUNNER_KEY; where one is missing, what `eventrunner dev` wrote into its data folder.

    Raises ConfigurationError when neither is there.
    """
    settings = Settings.from_env()
    written: dict[str, Any] = {}
    file = data_dir / "dev.json"
    if not (settings.url and settings.key) and file.is_file():
        written = json.loads(file.read_text())
    url = settings.url or written.get("url", "")
    key = settings.key or written.get("admin_key", "")
    if not url or not key:
        raise ConfigurationError(
            "No platform to talk to: start one with `eventrunner dev`, or set EVENTRUNNER_URL and EVENTRUNNER_KEY."
        )
    return Connection(url, key)


class Api:
    """The HTTP API, with one key; use as an asynchronous context manager."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        return self._connection.url

    async def __aenter__(self) -> Api:
        headers = {"Authorization": f"Bearer {self._connection.key}"}
        self._session = aiohttp.ClientSession(self._connection.url, headers=headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        text: str | None = None,
        content: tuple[str, bytes] | None = None,
    ) -> Any:
        """The decoded answer; `content` is a body with its media type. Raises ApiError for an error answer and
        Unavailable when nothing answers."""
        assert self._session is not None
        if text:
            content = ("text/plain", text.encode())
        sent: dict[str, Any] = {}
        if content is not None:
            data = io.BytesIO(content[1])  # aiohttp wants larger bodies as files, which it writes in pieces.
            sent = {"data": data, "headers": {"Content-Type": content[0]}}
        if body is not None:
            sent = {"json": body}
        try:
            async with self._session.request(method, path, **sent) as response:
                answer = await response.json(content_type=None) if response.status != 204 else None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"{self._connection.url} does not answer: {error}") from error
        if response.status >= 400:
            raise ApiError(_refusal(method, path, response, answer), response.status)
        return answer

    async def stream(self, path: str, last_id: str | None) -> AsyncGenerator[tuple[str, str], None]:
        """Id and data of server-sent events until the connection ends. Raises ApiError, and Unavailable when it
        cannot be had just now or breaks."""
        assert self._session is not None
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        timeout = aiohttp.ClientTimeout(total=None, sock_read=_SILENCE_SECONDS)
        identifier, lines = "", []
        try:
            async with self._session.get(path, headers=headers, timeout=timeout) as response:
                if response.status >= 500:
                    raise Unavailable(f"{self._connection.url} answers {response.status} {response.reason}.")
                if response.status >= 400:
                    answer = await response.json(content_type=None)
                    problem = _refusal("GET", path, response, answer)
                    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
                        raise Unavailable(problem)
                    raise ApiError(problem, response.status)
                buffer = b""
                async for chunk in response.content.iter_any():
                    *whole, buffer = (buffer + chunk).split(b"\n")
                    for line in whole:
                        name, _, value = line.decode().partition(": ")
                        if name == "id":
                            identifier = value
                        elif name == "data":
                            lines.append(value)
                        elif not line and lines:
                            yield identifier, "\n".join(lines)
                            lines = []
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"{self._connection.url} does not answer: {error}") from error


def _refusal(method: str, path: str, response: aiohttp.ClientResponse, answer: Any) -> str:
    """What is wrong, each wrong field that the sentence does not name, and last which call it was."""
    problem = answer if isinstance(answer, dict) else {}
    detail = problem.get("detail") or str(response.reason)
    fields = [item for item in problem.get("errors", ()) if item["message"] not in detail][:_FIELDS]
    lines = [f"  {item['field']}: {item['message']}" for item in fields if item["field"] not in detail]
    return "\n".join([f"{detail} ({method} {path.partition('?')[0]}: {response.status})", *lines])
