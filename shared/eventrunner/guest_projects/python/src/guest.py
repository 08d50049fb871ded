"""Joins ordinary Python to what a consumer is given. Without it `print` and an exception would break the guest off, as
both ask for files."""

import contextlib
import sys
from collections.abc import Iterator

from componentize_py_types import Err
from wit_world.imports import logging


class _Printed:
    """What is printed goes to the consumer's log, line by line."""

    def __init__(self) -> None:
        self._line = ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            logging.log(logging.Level.INFO, "print", line)
        return len(text)

    def flush(self) -> None:
        """A line goes when it ends."""


@contextlib.contextmanager
def call() -> Iterator[None]:
    """Around what handles a message. An exception becomes the reason why it could not be handled."""
    sys.stdout = sys.stderr = _Printed()  # type: ignore[assignment]
    try:
        yield
    except Err:
        raise
    except Exception as error:
        raise Err(f"{type(error).__name__}: {error} ({_place(error)})") from error


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
