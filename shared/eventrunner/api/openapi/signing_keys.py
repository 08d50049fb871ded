"""The keys that tenants sign their modules with."""

from __future__ import annotations

from typing import Final

import msgspec

from eventrunner.api.openapi.call import Answer, Call, json_answer, json_body
from eventrunner.api.openapi.parameters import PAGE, TENANT, in_path
from eventrunner.api.signing_keys import SigningKeyBody
from eventrunner.api.texts import NAME_PATTERN, Time

__all__ = ["CALLS"]


class SigningKeyDocument(msgspec.Struct):
    tenant: str
    id: str
    name: str
    public_key: str
    """Base64 of the 32 bytes."""
    module_key_id: str
    """By which the signature in a module names it."""
    created: Time


class SigningKeys(msgspec.Struct):
    signing_keys: list[SigningKeyDocument]
    next: str | None


_ALL: Final = "/api/v1/signing-keys/{tenant}"

CALLS: Final = (
    Call(
        id="signing-keys-list",
        method="get",
        path=_ALL,
        summary="The keys that a tenant signs its modules with, the oldest first",
        path_parameters=(TENANT,),
        parameters=PAGE,
        answers={200: json_answer(SigningKeys)},
        problems=(404, 422),
    ),
    Call(
        id="signing-keys-create",
        method="post",
        path=_ALL,
        summary="Register a public key; again, it gets the name that is given then",
        path_parameters=(TENANT,),
        body=json_body(SigningKeyBody),
        answers={200: json_answer(SigningKeyDocument, "Known already"), 201: json_answer(SigningKeyDocument, "New")},
        problems=(404, 409, 422),
        untagged="A signing key has no ETag, as its id is that of its content",
    ),
    Call(
        id="signing-keys-delete",
        method="delete",
        path=f"{_ALL}/{{key}}",
        summary="Revoke a key: what is signed with it is not run any more",
        path_parameters=(TENANT, in_path("key", pattern=NAME_PATTERN)),
        answers={204: Answer()},
        problems=(404, 409, 422),
        untagged="A signing key has no ETag, as its id is that of its content",
    ),
)
