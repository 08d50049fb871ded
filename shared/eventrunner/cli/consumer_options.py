"""Options that commands for consumers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from eventrunner.api.consumer_settings import INSTANCES
from eventrunner.billing.consumer_limits import HARD_LIMITS
from eventrunner.storage.records import Limits

__all__ = ["instance_option", "limit_options"]

F = TypeVar("F", bound=Callable[..., Any])

instance_option = click.option(
    "--instance", type=click.Choice(INSTANCES), default="fresh", show_default=True, help="For each event, or for many."
)


def limit_options(defaults: Limits | None) -> Callable[[F], F]:
    """An option for each limit, under its name. Without `defaults` it is None where it is not given, as the platform
    knows the tenant's plan, which may also allow less than the option."""

    def decorate(function: F) -> F:
        for name, most in reversed(HARD_LIMITS.items()):
            option = click.option(
                f"--{name.replace('_', '-')}",
                type=click.IntRange(1, most),
                default=getattr(defaults, name, None),
                show_default=True if defaults else "the plan's",
                help="Limit of one call.",
            )
            function = option(function)
        return function

    return decorate
