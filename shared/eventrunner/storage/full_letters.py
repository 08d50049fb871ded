"""What adapters tell about tenants whose dead letters leave no room for more, for as long as that is so."""

from __future__ import annotations

import msgspec

from eventrunner.errors import QuotaExceeded

__all__ = ["FULL_LETTERS_SECONDS", "FULL_LETTERS_SUBJECT", "FullLetters"]

FULL_LETTERS_SUBJECT = "eventrunner.dead-letters.full"
"""Of the message that says so; core NATS, because it is worth nothing later."""
FULL_LETTERS_SECONDS = 1.0
"""Between two messages. Whoever has heard none for five times as long may send again."""
_RETRY_AFTER = 10.0


class FullLetters(msgspec.Struct):
    tenants: dict[str, int]
    """Bytes of their dead letters."""

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> FullLetters:
        """Raises msgspec.DecodeError."""
        return msgspec.json.decode(data, type=cls)

    @staticmethod
    def describe(tenant: str, size: int) -> str:
        return (
            f"Tenant {tenant} has {size / 2**20:.1f} MiB of dead letters, as many as it may. Nothing more is taken of "
            f"it before some of them are replayed or dropped: `eventrunner dead-letters list {tenant}`."
        )

    @classmethod
    def refusal(cls, tenant: str, size: int) -> QuotaExceeded:
        return QuotaExceeded(cls.describe(tenant, size), retry_after=_RETRY_AFTER)
