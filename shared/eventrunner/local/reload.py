"""Takes changed code into a platform that runs, as a new revision on Knative does: the new processes start beside the
old ones, get the work when they are ready, and only then the old ones drain and end. Where a new one does not become
ready, the old one stays."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Final

import msgspec

from eventrunner.errors import EventRunnerError
from eventrunner.local.activator import Activator
from eventrunner.local.adapter import SourceAdapter

__all__ = ["Reloaded", "reload"]

_log = logging.getLogger(__name__)

ADAPTER: Final = "source adapter"
_READY_SECONDS: Final = 20.0
_DRAIN_SECONDS: Final = 30.0
"""As Kubernetes gives a pod."""


class Reloaded(msgspec.Struct, frozen=True):
    replaced: dict[str, int]
    """Part → its new processes. A function without any is not named: its next one starts from the new code anyway."""
    kept: dict[str, str]
    """Part whose new process did not become ready → why; the old ones go on."""


async def reload(activator: Activator, adapter: SourceAdapter) -> Reloaded:
    """One part after the other, so that the load that goes on finds a core. Returns when the old adapter has ended; the
    old functions may still be draining."""
    reloaded = Reloaded({}, {})
    for name, revision in list(activator.revisions.items()):
        await _replace(name, revision.replace(), reloaded)
    await _replace(ADAPTER, _replace_adapter(adapter), reloaded)
    return reloaded


async def _replace(name: str, replacing: Awaitable[int], reloaded: Reloaded) -> None:
    try:
        if count := await replacing:
            reloaded.replaced[name] = count
            _log.info("%s: %d new in place of the old", name, count)
    except (EventRunnerError, OSError) as error:
        reloaded.kept[name] = str(error)
        _log.error("%s: the new one did not become ready, so the old one stays: %s", name, error)


async def _replace_adapter(adapter: SourceAdapter) -> int:
    await adapter.renew(_READY_SECONDS, _DRAIN_SECONDS)
    return 1
