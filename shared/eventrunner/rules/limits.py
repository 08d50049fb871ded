"""How much a rule set may ask for. Rules come from tenants, so every loop and every growing value has an end."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MAX_ARRAY", "MAX_STRING", "Limits"]

MAX_STRING = 1 << 20
"""Characters of a string that a rule builds."""
MAX_ARRAY = 100_000
"""Elements of an array that a rule builds."""


@dataclass(frozen=True, slots=True)
class Limits:
    source_bytes: int = 1 << 20
    rules: int = 5_000
    nesting: int = 64
    """Depth of parentheses, selectors, arguments and negations."""
    operators: int = 2_000
    """Operators of one expression."""
    cycles: int = 5_000
    """Firings for one event, as in Grule."""
    seconds: float = 0.25
    """Time for one event's firings."""
    problems: int = 50
    """Problems reported of one text."""
