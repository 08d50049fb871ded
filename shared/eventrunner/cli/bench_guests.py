"""Guests for benchmarks that publish what they are handed as it is, built as users build theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from eventrunner.cli.consumer_build import build_project
from eventrunner.cli.guest_projects import write_project

__all__ = ["LANGUAGES", "build_echo"]

_C: Final = """
#include "eventrunner.h"
text handle_message(message msg) { return publish(msg.subject, msg.body); }
"""
_PYTHON: Final = """
from wit_world import exports
from wit_world.imports import consumer

class Handler(exports.Handler):
    def handle_message(self, msg):
        consumer.publish(msg)
"""
_SOURCES: Final = {"c": ("src/consumer.c", _C), "python": ("src/app.py", _PYTHON)}
LANGUAGES: Final = {"c": "C", "python": "Python"}
"""Names for people, by what `build_echo` takes."""


def build_echo(language: str, folder: Path) -> bytes:
    """A project as `eventrunner consumer new` writes it, with another handler. Raises ConfigurationError where the
    tools for it are missing."""
    path, source = _SOURCES[language]
    write_project(language, "echo", folder)
    (folder / path).write_text(source)
    return build_project(folder).read_bytes()
