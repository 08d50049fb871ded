"""A functions-framework function made of HTTP routes, for the calls that people and programs make."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from flask import Request, Response

from eventrunner.access.identity import Verifier
from eventrunner.access.key_sets import wait_for_keys
from eventrunner.errors import NotFound
from eventrunner.nesting import read_deep_events
from eventrunner.settings import Settings
from eventrunner.stage.answers import guarded
from eventrunner.stage.body import BODY_LIMIT, limit_body
from eventrunner.telemetry import configure_logging

__all__ = ["BodyLimit", "HttpFunction", "RouteHandler"]


RouteHandler: TypeAlias = Callable[..., Response]
"""`(request, identity, **path parameters) -> response`; raises EventRunnerError for every other answer."""
BodyLimit: TypeAlias = Callable[[Settings], int]
"""The bytes that a body may have, compressed or not."""


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    template: str
    pattern: re.Pattern[str]
    handler: RouteHandler
    max_body: BodyLimit


class HttpFunction:
    """Routes such as `/api/v1/usage/{tenant}`; a parameter matches one path segment."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._routes: list[_Route] = []
        self._settings: Settings | None = None
        self._verifier: Verifier | None = None

    def route(
        self, method: str, template: str, max_body: BodyLimit = lambda _: BODY_LIMIT
    ) -> Callable[[RouteHandler], RouteHandler]:
        """Registers the decorated handler for a method and a path template."""
        pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))

        def register(handler: RouteHandler) -> RouteHandler:
            self._routes.append(_Route(method, template, pattern, handler, max_body))
            return handler

        return register

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Methods and templates."""
        return [(route.method, route.template) for route in self._routes]

    def body_limits(self, settings: Settings) -> dict[tuple[str, str], int]:
        """Bytes, by method and template."""
        return {(route.method, route.template): route.max_body(settings) for route in self._routes}

    def main(self, request: Request) -> Response:
        """What functions-framework calls. Every error leaves as a problem document."""
        return guarded(self.name, request, self._answer)

    def _identities(self) -> Verifier:
        if self._verifier is None:
            self._verifier = Verifier(self.settings().gateway_jwks)
        return self._verifier

    def settings(self) -> Settings:
        """Settings of this process, read on first use."""
        if self._settings is None:
            self._settings = Settings.from_env()
            configure_logging(self.name, self._settings.log_level)
            read_deep_events()
        return self._settings

    def _answer(self, request: Request) -> Response:
        route, parameters = self._match(request.method, request.path)
        limit_body(request, route.max_body(self.settings()))
        authorization, verify = request.headers.get("Authorization"), self._identities().verify
        identity = wait_for_keys(lambda: verify(authorization))
        return route.handler(request, identity, **parameters)

    def _match(self, method: str, path: str) -> tuple[_Route, dict[str, Any]]:
        for route in self._routes:
            match = route.pattern.fullmatch(path)
            if match and route.method == method:
                return route, match.groupdict()
        raise NotFound(f"{self.name} has no {method} {path}.")
