"""How much each call may bring, so that the gateway refuses what the function behind it would refuse."""

from __future__ import annotations

from collections.abc import Mapping

from eventrunner.settings import Settings

__all__ = ["body_limits"]

_OF_EVENTS = ("events-publish", "rules-dry-run", "rules-explain", "rules-explain-all")


def body_limits(settings: Settings) -> Mapping[str, int]:
    """Bytes by access rule, of those that may bring more than `stage.body.BODY_LIMIT`."""
    return {"consumers-put": settings.max_module_bytes} | dict.fromkeys(_OF_EVENTS, settings.max_body_bytes)
