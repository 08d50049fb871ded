"""`nats://SERVER:PORT/SUBJECT`: a subject of core NATS as a destination. In it, `{tenantid}` and `{type}` stand for the
event's."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from eventrunner.events.handed import tokens_of_type
from eventrunner.storage.jetstream import without_secrets

__all__ = ["NatsAddress", "is_nats", "nats_problem"]

_SCHEMES: Final = ("nats", "tls")
_TENANT: Final = "{tenantid}"
_TYPE: Final = "{type}"
_TOKEN: Final = re.compile(r"[^\s.*>{}\x00-\x1f\x7f]+")


def is_nats(uri: str) -> bool:
    return urlsplit(uri).scheme in _SCHEMES


def nats_problem(uri: str) -> str:
    """What is wrong with it; empty when nothing is."""
    parts = urlsplit(uri)
    tokens = parts.path.removeprefix("/").split(".")
    if not parts.hostname or parts.query or parts.fragment or tokens == [""]:
        return f"must be nats://SERVER:PORT/SUBJECT, not {without_secrets(uri)!r}"
    if not all(token in (_TENANT, _TYPE) or _TOKEN.fullmatch(token) for token in tokens):
        return f"may have no wildcards in its subject, and {_TENANT} and {_TYPE} only as whole tokens"
    return f"may have {_TYPE} only at the end of its subject" if _TYPE in tokens[:-1] else ""


class NatsAddress:
    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self.server = f"{parts.scheme}://{parts.netloc}"
        """With the credentials that it may hold."""
        self.pattern = parts.path.removeprefix("/")

    @property
    def wildcards(self) -> str:
        """The subjects that it stands for."""
        return self.pattern.replace(_TENANT, "*").replace(_TYPE, ">")

    def subject(self, tenant: str, type: str) -> str:
        return self.pattern.replace(_TENANT, tenant).replace(_TYPE, tokens_of_type(type))
