"""Why a module's signature is not accepted. Each of them is the caller's to mend, and has a code of its own.

InvalidInput
└── SignatureError
    ├── UnsignedModule       no signature at its beginning
    ├── MalformedSignature   what is there cannot be read
    ├── PartlySigned         a signature leaves sections out
    ├── TamperedModule       the module or its signature is not what it was when it was signed
    └── UnknownSigningKey    sound, by a key that is not among those asked for
"""

from __future__ import annotations

from dataclasses import dataclass

from eventrunner.errors import InvalidInput

__all__ = [
    "MalformedSignature",
    "PartlySigned",
    "SignatureError",
    "TamperedModule",
    "UnknownSigningKey",
    "UnsignedModule",
]


@dataclass(eq=False)
class SignatureError(InvalidInput):
    code = "bad-signature"


@dataclass(eq=False)
class UnsignedModule(SignatureError):
    code = "unsigned-module"


@dataclass(eq=False)
class MalformedSignature(SignatureError):
    code = "malformed-signature"


@dataclass(eq=False)
class PartlySigned(SignatureError):
    code = "partly-signed-module"


@dataclass(eq=False)
class TamperedModule(SignatureError):
    code = "tampered-module"


@dataclass(eq=False)
class UnknownSigningKey(SignatureError):
    key_ids: tuple[str, ...] = ()
    """The ids that the signatures name, as hexadecimal digits; a signature need not name one."""

    code = "unknown-signing-key"
