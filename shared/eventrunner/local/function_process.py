"""`python -m eventrunner.local.function_process`: functions-framework with a life tied to the platform's.

Takes functions-framework's own arguments. Its server, gunicorn, forks a worker; the worker must not outlive it either.
"""

from __future__ import annotations

import os

from functions_framework._cli import _cli
from gunicorn.config import ControlSocketDisable, ForwardedAllowIPS, Keepalive  # type: ignore[import-untyped]

from eventrunner.local.lifeline import die_with_parent

__all__ = ["main"]

_KEEP_ALIVE_SECONDS = 75
"""Longer than the activator keeps an idle connection: it is always the activator that closes."""


def main() -> None:
    os.register_at_fork(after_in_child=die_with_parent)
    # functions-framework offers no way to pass these on. The control socket is one path per user for every gunicorn.
    ControlSocketDisable.default = True
    Keepalive.default = _KEEP_ALIVE_SECONDS
    # By default it believes this machine's senders, and with them whoever they forward, what SCRIPT_NAME a request has.
    ForwardedAllowIPS.default = ""
    _cli(prog_name="functions-framework")


if __name__ == "__main__":
    main()
