"""`python -m eventrunner.local.function_process`: functions-framework with a life tied to the platform's.

Takes functions-framework's own arguments. Its server, gunicorn, forks a worker; the worker must not outlive it either.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

from functions_framework._cli import _cli
from gunicorn.config import ControlSocketDisable, ForwardedAllowIPS, Keepalive  # type: ignore[import-untyped]

from eventrunner.local.lifeline import die_with_parent

__all__ = ["main"]

_KEEP_ALIVE_SECONDS = 75
"""Longer than the activator keeps an idle connection: it is always the activator that closes."""


class _NoWebSockets(MetaPathFinder):
    """nats-py imports aiohttp where that is installed, for connections over WebSocket, which nobody has here. It takes
    a quarter of the time in which a function starts. In an image it is not installed."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == "aiohttp" and _imports("nats.aio.transport"):
            raise ModuleNotFoundError("nats-py does without aiohttp.", name=name)


def _imports(module: str) -> bool:
    """Whether it is that module that imports something just now."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("importlib"):
        frame = frame.f_back
    return bool(frame.f_globals.get("__name__") == module)


def main() -> None:
    sys.meta_path.insert(0, _NoWebSockets())
    os.register_at_fork(after_in_child=die_with_parent)
    # functions-framework offers no way to pass these on. The control socket is one path per user for every gunicorn.
    ControlSocketDisable.default = True
    Keepalive.default = _KEEP_ALIVE_SECONDS
    # By default it believes this machine's senders, and with them whoever they forward, what SCRIPT_NAME a request has.
    ForwardedAllowIPS.default = ""
    _cli(prog_name="functions-framework")


if __name__ == "__main__":
    main()
