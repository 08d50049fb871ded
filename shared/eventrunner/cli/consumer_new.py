"""`eventrunner consumer new`: a small complete project to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from eventrunner.cli.guest_projects import LANGUAGES, check_name, write_project

__all__ = ["new"]


@click.command("new")
@click.argument("name")
@click.option("--lang", "language", type=click.Choice(LANGUAGES), required=True, help="Language of the source.")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), help="Where to write it; empty or not there.  [default: NAME]"
)
def new(name: str, language: str, folder: Path | None) -> None:
    """Write a small project for a consumer: source, WIT, build script, test event, README."""
    folder = folder or Path(check_name(name))
    project = write_project(language, check_name(name), folder)
    click.echo(f"{folder} is a consumer in {language}. Building it needs:")
    for tool in project.tools:
        click.echo(f"  {tool.command}: {tool.get}")
    click.echo("Next:")
    for line in (f"cd {folder}", "eventrunner consumer build", "eventrunner consumer run"):
        click.echo(f"  {line}")
