"""Answers Oathkeeper: who holds a key, and whether the policy allows what is asked."""

from pathlib import Path

from eventrunner.authorizer.function import AuthorizerFunction
from starlette.requests import Request
from starlette.responses import Response

_authorizer = AuthorizerFunction(Path(__file__).parents[2] / "policies")


async def main(request: Request) -> Response:
    return await _authorizer.main(request)
