"""A functions-framework function made of HTTP routes, for the calls that people and programs make."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from flask import Request, Response

from eventrunner.access.identity import Identity, verify
from eventrunner.errors import EventRunnerError, NotFound
from eventrunner.settings import Settings
from eventrunner.stage.answers import problem_response, service_response
from eventrunner.telemetry import REQUEST_SECONDS, configure_logging, current_traceparent

__all__ = ["HttpFunction", "RouteHandler"]

_log = logging.getLogger(__name__)

RouteHandler: TypeAlias = Callable[..., Response]
"""`(request, identity, **path parameters) -> response`; raises EventRunnerError for every other answer."""


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    pattern: re.Pattern[str]
    handler: RouteHandler


class HttpFunction:
    """Routes such as `/api/v1/usage/{tenant}`; a parameter matches one path segment."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._routes: list[_Route] = []
        self._settings: Settings | None = None

    def route(self, method: str, template: str) -> Callable[[RouteHandler], RouteHandler]:
        """Registers the decorated handler for a method and a path template."""
        pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))

        def register(handler: RouteHandler) -> RouteHandler:
            self._routes.append(_Route(method, pattern, handler))
            return handler

        return register

    def main(self, request: Request) -> Response:
        """What functions-framework calls. Every error leaves as a problem document."""
        page = service_response(request)
        if page is not None:
            return page
        started = time.perf_counter()
        token = current_traceparent.set(request.headers.get("traceparent"))
        try:
            response = self._answer(request)
        except EventRunnerError as error:
            response = problem_response(error)
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            response = problem_response(EventRunnerError(f"{self.name} failed on this request; see its log."))
        finally:
            current_traceparent.reset(token)
        REQUEST_SECONDS.labels(self.name, response.status_code).observe(time.perf_counter() - started)
        return response

    def settings(self) -> Settings:
        """Settings of this process, read on first use."""
        if self._settings is None:
            self._settings = Settings.from_env()
            configure_logging(self.name, self._settings.log_level)
        return self._settings

    def _answer(self, request: Request) -> Response:
        handler, parameters = self._match(request.method, request.path)
        identity: Identity = verify(request.headers.get("Authorization"), self.settings().gateway_secret)
        return handler(request, identity, **parameters)

    def _match(self, method: str, path: str) -> tuple[RouteHandler, dict[str, Any]]:
        for route in self._routes:
            match = route.pattern.fullmatch(path)
            if match and route.method == method:
                return route.handler, match.groupdict()
        raise NotFound(f"{self.name} has no {method} {path}.")
