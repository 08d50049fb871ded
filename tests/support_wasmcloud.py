"""A real wasmCloud for tests."""

from __future__ import annotations

from eventrunner.cli.wash import need_wash
from eventrunner.errors import Unavailable
from support import unavailable
from support_guests import require_toolchain

__all__ = ["require_wasmcloud"]


def require_wasmcloud() -> None:
    require_toolchain()
    try:
        need_wash("docker-registry")
    except Unavailable as error:
        unavailable(error.detail)
