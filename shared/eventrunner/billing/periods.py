"""Billing periods: calendar months in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

from eventrunner.errors import FieldError, InvalidInput

__all__ = ["Period"]

_TEXT = re.compile(r"([1-9]\d{3})-(0[1-9]|1[0-2])", re.ASCII)


class Period(NamedTuple):
    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> Period:
        """Reads `2026-10`. Raises InvalidInput."""
        match = _TEXT.fullmatch(text)
        if match is None or match[1] == "9999":
            message = "a month such as 2026-10"
            raise InvalidInput(f"{text!r} is not {message}.", (FieldError("period", message),))
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, moment: datetime) -> Period:
        moment = moment.astimezone(UTC)
        return cls(moment.year, moment.month)

    @property
    def since(self) -> datetime:
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def until(self) -> datetime:
        """The first moment after it."""
        year, month = divmod(self.year * 12 + self.month, 12)
        return datetime(year, month + 1, 1, tzinfo=UTC)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"
