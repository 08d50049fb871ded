"""Entry point of `eventrunner`. A command's module is imported when the command is used, so that `--help` is quick."""

from __future__ import annotations

import importlib
import sys

import click

from eventrunner.errors import EventRunnerError

__all__ = ["main"]

_COMMANDS = {
    "analytics": ("eventrunner.cli.analytics", "make the analytics again from the event store"),
    "audit": ("eventrunner.cli.audit", "print who changed what through the API"),
    "bench": ("eventrunner.cli.bench", "measure throughput, latency and CPU per event on this machine"),
    "consumer": ("eventrunner.cli.consumer", "write, build, try and deploy tenants' WebAssembly consumers"),
    "dead-letters": ("eventrunner.cli.dead_letters", "see, replay and drop events that a stage gave up"),
    "demo": ("eventrunner.cli.demo", "run the whole system on a year of real flights and check every number"),
    "dev": ("eventrunner.cli.dev", "run the platform on this machine until Ctrl-C"),
    "doctor": ("eventrunner.cli.doctor", "check what the gateway lets through; print who may do what"),
    "emit": ("eventrunner.cli.emit", "send events from a file or standard input"),
    "events": ("eventrunner.cli.events", "list stored events, show one, follow its way"),
    "reload": ("eventrunner.cli.reload", "take changed code into the platform that runs here"),
    "replay": ("eventrunner.cli.replay", "send stored events through rules or to a consumer once more"),
    "rules": ("eventrunner.cli.rules", "check, run and manage GRL rule sets"),
    "source": ("eventrunner.cli.source", "run the JetStreamSource adapter"),
    "status": ("eventrunner.cli.status", "show how full the streams are and what holds events up"),
    "streams": ("eventrunner.cli.streams", "create or update the JetStream streams"),
    "tail": ("eventrunner.cli.tail", "print a tenant's events as they come"),
    "tenant": ("eventrunner.cli.tenant", "create tenants, their keys and quotas"),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0])
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in sorted(_COMMANDS.items())])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="eventrunner")
def cli() -> None:
    """High-throughput, multi-tenant event processing."""


def main() -> None:
    try:
        cli()
    except EventRunnerError as error:
        click.echo(f"eventrunner: {error}", err=True)
        sys.exit(1)
