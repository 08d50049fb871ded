"""Shows usage and invoices, and closes months."""

from eventrunner.api.billing import make_function
from flask import Request, Response

_billing = make_function()


def main(request: Request) -> Response:
    return _billing.main(request)
