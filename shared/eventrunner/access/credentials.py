"""Who is calling, by the credentials in the request's headers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from eventrunner.access.access_rules import Credential
from eventrunner.access.identity import Identity
from eventrunner.access.keys import PREFIX, hash_key, identity_of
from eventrunner.access.tokens import TokenVerifier
from eventrunner.clock import Clock, utc_now
from eventrunner.errors import InvalidInput, Unauthenticated
from eventrunner.storage.records import Key

__all__ = ["ANONYMOUS", "Authenticator", "KeyLookup"]

KeyLookup: TypeAlias = Callable[[str], bytes | None]
"""From the hash of a key to its record in bucket `keys`; raises Unavailable while the bucket was never read."""

ANONYMOUS: Final = Identity("", "", ())
"""As Oathkeeper's authenticator `noop` leaves it."""

_log = logging.getLogger(__name__)
_REMEMBERED: Final = 20_000


class _Known(NamedTuple):
    id: str
    expires: float
    identity: Identity


class Authenticator:
    """Remembers hash and identity of the keys that it has seen, yet looks at the record every time, so that a key
    that is deleted stops working at once."""

    def __init__(
        self,
        keys: KeyLookup,
        tokens: TokenVerifier | None = None,
        *,
        uses: Callable[[str], None] | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """`uses` is told the id of each key that lets somebody in."""
        self._keys = keys
        self._tokens = tokens
        self._uses = uses
        self._clock = clock
        self._known: dict[str, tuple[str, bytes, _Known]] = {}

    def identify(self, headers: Mapping[str, str], credentials: Sequence[Credential]) -> Identity:
        """The first credential that is present decides. Raises Unauthenticated, and what the key lookup raises."""
        for credential in credentials:
            identity = self._try(credential, headers)
            if identity is not None:
                return identity
        raise Unauthenticated("Send an API key or a token: Authorization: Bearer <key>, or X-Api-Key: <key>.")

    def _try(self, credential: Credential, headers: Mapping[str, str]) -> Identity | None:
        match credential:
            case Credential.BEARER_KEY:
                text = _bearer(headers)
                return self._by_key(text) if text.startswith(PREFIX) else None
            case Credential.HEADER_KEY:
                text = headers.get("X-Api-Key", "")
                return self._by_key(text) if text else None
            case Credential.TOKEN:
                text = _bearer(headers)
                return self._by_token(text) if text.count(".") == 2 else None
            case Credential.NONE:
                return ANONYMOUS

    def _by_key(self, text: str) -> Identity:
        if not text.isascii():
            raise Unauthenticated("The API key is not known.")
        known = self._known.get(text)
        name = known[0] if known is not None else hash_key(text)
        record = self._keys(name)
        if record is None:
            raise Unauthenticated("The API key is not known.", "" if known is None else known[2].id)
        key = known[2] if known is not None and known[1] == record else self._remember(text, name, record)
        if key.expires and self._clock().timestamp() >= key.expires:
            reason = "The API key was rotated, and the time in which it still worked is over."
            raise Unauthenticated(reason, key.id)
        if self._uses is not None:
            self._uses(key.id)
        return key.identity

    def _remember(self, text: str, name: str, record: bytes) -> _Known:
        try:
            key = Key.from_json(record)
        except InvalidInput as error:
            _log.error("the record of key %s cannot be read: %s", name, error)
            raise Unauthenticated("The API key is not usable.") from error
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        known = _Known(key.id, key.expires, identity_of(key))
        self._known[text] = (name, record, known)
        return known

    def _by_token(self, text: str) -> Identity:
        if self._tokens is None:
            raise Unauthenticated("Tokens are not accepted here: no issuer is configured. Use an API key.")
        return self._tokens.verify(text)


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, text = headers.get("Authorization", "").partition(" ")
    return text if scheme == "Bearer" or scheme.lower() == "bearer" else ""
