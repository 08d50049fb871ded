"""Manages tenants, keys, plans and rules, and reads stored events."""

from eventrunner.api.function import make_function
from flask import Request, Response

_api = make_function()


def main(request: Request) -> Response:
    return _api.main(request)
