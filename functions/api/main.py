"""Manages tenants, keys, plans, rules and consumers, and reads stored events."""

from pathlib import Path

from eventrunner.api.function import make_function
from flask import Request, Response

_api = make_function(Path(__file__).parents[2] / "policies")


def main(request: Request) -> Response:
    return _api.main(request)
