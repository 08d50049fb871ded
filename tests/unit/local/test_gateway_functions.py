"""The gateway in front of a real function: what the gateway has decided on is what the function does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohttp import web
from eventrunner.access.access_rules import load_access_rules
from eventrunner.access.authorizer import Authorizer
from eventrunner.access.credentials import Authenticator
from eventrunner.access.keys import make_key
from eventrunner.access.policy import Policy
from eventrunner.doctor.raw_http import Answer, RawRequest, send
from eventrunner.local.gateway import Gateway
from support_identity import JWKS, SIGNER

from tests.unit.local.support import make_project, run, running_activator

POLICIES = Path(__file__).parents[3] / "policies"
USER, RECORD = make_key("acme", ["user"], subject="alice")
API = """
from eventrunner.stage.http import HttpFunction
from flask import Response
_function = HttpFunction("api")
@_function.route("GET", "/api/v1/events/{tenant}/{id}")
def _event(request, identity, tenant, id):
    return Response(f"{id} of {tenant}")
@_function.route("GET", "/api/v1/openapi.json")
def _description(request, identity):
    return Response("{}")
def main(request):
    return _function.main(request)
"""


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        ("/api/v1/events/acme/metrics", {}, b"metrics of acme"),
        ("/api/v1/events/acme/metrics", {"SCRIPT_NAME": "/api/v1/events/acme"}, b"metrics of acme"),
        ("/api/v1/events/acme/metrics", {"script_name": "/api/v1/events/acme"}, b"metrics of acme"),
        ("/api/v1/events/acme/metrics", {"Script_Name": "/zzz"}, b"metrics of acme"),
        ("/api/v1/events/acme/x", {"PATH_INFO": "/metrics"}, b"x of acme"),
        ("/api/v1/events/acme/x", {"X-Forwarded-Ssl": "on"}, b"x of acme"),
        ("/api/v1/openapi.json", {"SCRIPT_NAME": "/zzz"}, b"{}"),
    ],
)
def test_no_header_leads_a_request_to_another_path(
    tmp_path: Path, path: str, headers: Mapping[str, str], body: bytes
) -> None:
    async def scenario() -> None:
        project = make_project(tmp_path, {"api": API})
        async with running_activator(project, env={"EVENTRUNNER_GATEWAY_JWKS": JWKS}) as activator:
            gateway = Gateway(
                load_access_rules(POLICIES / "access-rules.yaml"),
                Authorizer(Authenticator({RECORD.hash: RECORD.to_json()}.get), Policy.from_folder(POLICIES)),
                activator,
                signer=SIGNER,
                max_body_bytes=1000,
                max_held_bytes=1000,
            )
            runner = gateway.runner()
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            try:
                request = RawRequest("GET", path, {"X-Api-Key": USER, **headers})
                answer = await send(f"http://127.0.0.1:{runner.addresses[0][1]}", request)
            finally:
                await runner.cleanup()
            assert answer == Answer(200, body)

    run(scenario())
