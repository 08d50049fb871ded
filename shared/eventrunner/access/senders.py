"""Who may send batches to a function: the adapter of sources, and what of Knative's own eventing is let in.

Each sink has an audience of its own, made as Knative makes those of its addressables, so a sink that is taken over can
do nothing with the tokens that it was sent: neither other sinks nor, as issuer and keys differ from the gateway's, the
API take them (https://knative.dev/docs/eventing/features/sender-identity/).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeAlias

import jwt

from eventrunner.access.identity import Identity, Signer, Verifier
from eventrunner.access.key_sets import wait_for_keys
from eventrunner.access.tokens import TokenVerifier
from eventrunner.clock import Clock, utc_now
from eventrunner.errors import ConfigurationError, EventRunnerError, Unauthenticated
from eventrunner.settings import Settings

__all__ = [
    "SOURCE_ISSUER",
    "Check",
    "EventingSenders",
    "SourceSigner",
    "audience_of",
    "eventing_senders",
    "sender_check",
]

_log = logging.getLogger(__name__)

SOURCE_ISSUER: Final = "eventrunner-source"
_SOURCE: Final = Identity("source", "", ())
_REMEMBERED: Final = 1000

Check: TypeAlias = Callable[[str | None], None]
"""Takes the header `Authorization`. Raises Unauthenticated, and nothing else."""


def audience_of(api_version: str, kind: str, namespace: str, name: str) -> str:
    """Of a Kubernetes object."""
    group = api_version.rpartition("/")[0]
    return f"{group}/{kind}/{namespace}/{name}".lower()


class SourceSigner:
    """`keys`: the private key set, or its path; it signs with the first key."""

    def __init__(self, keys: str, clock: Clock = utc_now) -> None:
        """Raises ConfigurationError for what is no private key set."""
        self._signer = Signer(_text(keys), clock, issuer=SOURCE_ISSUER)
        self.public_keys = self._signer.public_keys

    def header(self, audience: str) -> str:
        """The value of `Authorization`."""
        return "Bearer " + self._signer.sign(_SOURCE, audience)


def sender_check(settings: Settings, clock: Clock = utc_now) -> Check | None:
    """None where anybody may send, because no key set is configured. Where the settings are wrong, nobody may: whoever
    sends keeps its events on a 401, but a 5xx counts against them when other replicas are in order."""
    if not (settings.sink_jwks or settings.eventing_jwks):
        return None
    try:
        return _made(settings, clock)
    except ConfigurationError as error:
        _log.error("nobody is let in: %s", error)
        return _nobody


def _nobody(_: str | None) -> None:
    raise Unauthenticated("Senders cannot be checked here; see this function's log.")


def _made(settings: Settings, clock: Clock) -> Check:
    audience = settings.sink_audience
    if not audience:
        raise ConfigurationError("EVENTRUNNER_SINK_JWKS needs EVENTRUNNER_SINK_AUDIENCE: the name of this sink.")
    source = Verifier(
        settings.sink_jwks, clock, issuer=SOURCE_ISSUER, audience=audience, setting="EVENTRUNNER_SINK_JWKS"
    )
    eventing = eventing_senders(settings, audience, clock)

    def check(authorization: str | None) -> None:
        verify = eventing.verify if eventing is not None and eventing.issued(authorization) else source.verify
        try:
            wait_for_keys(lambda: verify(authorization))
        except Unauthenticated:
            raise
        except EventRunnerError as error:
            _log.error("nobody can be let in: %s", error)
            raise Unauthenticated("The keys of senders cannot be read; see this function's log.") from error

    return check


class EventingSenders:
    """Senders of Knative's own eventing, by the tokens of the cluster's service accounts."""

    def __init__(self, tokens: TokenVerifier, issuer: str, subjects: frozenset[str]) -> None:
        self._tokens = tokens
        self._issuer = issuer
        self._subjects = subjects

    def issued(self, authorization: str | None) -> bool:
        """Whether the token says that it is of this issuer."""
        return authorization is not None and _issuer(authorization) == self._issuer

    def verify(self, authorization: str | None) -> Identity:
        """Raises Unauthenticated, and what KeySet raises."""
        identity = self._tokens.verify(_token(authorization or ""))
        if identity.subject not in self._subjects:
            raise Unauthenticated(f"{identity.subject} is none of EVENTRUNNER_EVENTING_SUBJECTS.")
        return identity


def eventing_senders(settings: Settings, audience: str, clock: Clock = utc_now) -> EventingSenders | None:
    """None where none are configured. Raises ConfigurationError."""
    if not settings.eventing_jwks:
        return None
    subjects = frozenset(text.strip() for text in settings.eventing_subjects.split(",") if text.strip())
    if not (settings.eventing_issuer and subjects and audience):
        raise ConfigurationError(
            "EVENTRUNNER_EVENTING_JWKS needs EVENTRUNNER_EVENTING_ISSUER, EVENTRUNNER_EVENTING_SUBJECTS and "
            "EVENTRUNNER_SINK_AUDIENCE: whose tokens are believed, who may send, and the name of this sink."
        )
    tokens = TokenVerifier(settings.eventing_jwks, [settings.eventing_issuer], audience, clock)
    return EventingSenders(tokens, settings.eventing_issuer, subjects)


@lru_cache(maxsize=_REMEMBERED)
def _issuer(authorization: str) -> str:
    """What an unverified token says; empty for what is none."""
    try:
        claims = jwt.decode(_token(authorization), options={"verify_signature": False})
        return str(claims.get("iss"))
    except jwt.InvalidTokenError:
        return ""


def _token(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _text(keys: str) -> str:
    if keys.lstrip().startswith("{"):
        return keys
    try:
        return Path(keys).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"EVENTRUNNER_SOURCE_KEYS cannot be read: {error}.") from error
