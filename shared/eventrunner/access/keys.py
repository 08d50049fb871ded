"""API keys: which there can be, and whom a record of one names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from eventrunner.access.identity import Identity
from eventrunner.clock import Clock, utc_now
from eventrunner.errors import FieldError, InvalidInput
from eventrunner.storage.records import Key, hash_key, new_key

__all__ = ["PREFIX", "ROLES", "check_roles", "hash_key", "identity_of", "is_held_by", "is_long_over", "make_key"]

PREFIX: Final = "er_"
ROLES: Final = ("admin", "user", "event_publisher")
_KEPT_SECONDS: Final = 7 * 86_400.0
"""For which who still sends a key that was rotated is told so, and the list of keys shows it."""


def make_key(
    tenant: str,
    roles: Sequence[str],
    subject: str = "",
    clock: Clock = utc_now,
    identifier: str = "",
    text: str = "",
) -> tuple[str, Key]:
    """A new key's text and its record; without a subject, its holder is known by the key's id.

    Raises InvalidInput for a role that does not exist.
    """
    return new_key(tenant, list(check_roles(roles)), subject=subject, clock=clock, identifier=identifier, text=text)


def check_roles(roles: Sequence[str]) -> tuple[str, ...]:
    """The roles without repetition. Raises InvalidInput that names each one that does not exist."""
    wrong = tuple(
        FieldError(f"roles[{index}]", f"must be one of {', '.join(ROLES)}")
        for index, role in enumerate(roles)
        if role not in ROLES
    )
    if wrong or not roles:
        raise InvalidInput("A key needs roles that exist.", wrong or (FieldError("roles", "at least one"),))
    return tuple(dict.fromkeys(roles))


def identity_of(key: Key) -> Identity:
    """Who holds the key of this record."""
    return Identity(key.subject, key.tenant, tuple(key.roles))


def is_held_by(key: Key, identity: Identity, now: float) -> bool:
    """Whether the key works now, for who is that."""
    return identity_of(key) == identity and not (key.expires and now >= key.expires)


def is_long_over(key: Key, now: float) -> bool:
    """Whether the grace of a rotated key ended so long ago that its record can go."""
    return bool(key.expires) and now >= key.expires + _KEPT_SECONDS
