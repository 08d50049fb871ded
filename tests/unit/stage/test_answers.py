"""What functions refuse whatever server calls them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from eventrunner.access.identity import Identity
from eventrunner.stage import Outcomes, Stage
from eventrunner.stage.http import HttpFunction
from flask import Flask, Request, Response, request


def _http() -> Callable[[Request], Response]:
    function = HttpFunction("test")

    @function.route("GET", "/metrics")
    def _never(request: Request, identity: Identity) -> Response:
        raise AssertionError

    return function.main


def _stage() -> Callable[[Request], Response]:
    return Stage("test", lambda settings: lambda batch: Outcomes()).main


@pytest.mark.parametrize("main", [_http(), _stage()], ids=["http", "stage"])
@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/"])
def test_a_path_that_lacks_what_the_gateway_has_seen_of_it_is_400(
    main: Callable[[Request], Response], path: str
) -> None:
    """As gunicorn makes it of the header SCRIPT_NAME, for whom it trusts."""
    app = Flask(__name__)
    app.add_url_rule("/", "root", lambda: main(request))
    app.add_url_rule("/<path:path>", "any", lambda path: main(request))
    answer = app.test_client().get(path, environ_overrides={"SCRIPT_NAME": "/api/v1/events/acme"})
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert "SCRIPT_NAME" in answer.json["detail"]  # type: ignore[index]
    assert app.test_client().get("/healthz").status_code == 200
