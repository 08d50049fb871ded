"""Options that commands for consumers share."""

from __future__ import annotations

from typing import Any

import click

from eventrunner.api.consumer_settings import CEILINGS, INSTANCES
from eventrunner.storage.records import Limits

__all__ = ["instance_option", "limit_options"]

instance_option = click.option(
    "--instance", type=click.Choice(INSTANCES), default="fresh", show_default=True, help="For each event, or for many."
)


def limit_options(function: Any) -> Any:
    """An option for each of `Limits`, under its name."""
    for name in reversed(CEILINGS):
        option = click.option(
            f"--{name.replace('_', '-')}",
            type=click.IntRange(1, CEILINGS[name]),
            default=getattr(Limits(), name),
            show_default=True,
            help="Limit of one call.",
        )
        function = option(function)
    return function
