"""Types of texts and numbers in bodies and answers: what the description of the API says of them.

`extra_json_schema` only describes; a call checks these itself, so that it can name every wrong field at once.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

import msgspec

__all__ = [
    "NAME_PATTERN",
    "TENANT_PATTERN",
    "DecimalText",
    "EventDocument",
    "EventText",
    "Month",
    "Name",
    "ShortText",
    "TenantName",
    "Time",
    "VersionNumber",
]

TENANT_PATTERN: Final = "^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$"
NAME_PATTERN: Final = "^[A-Za-z0-9_-]{1,64}$"

Time: TypeAlias = Annotated[
    str, msgspec.Meta(description="RFC 3339 with an offset", extra_json_schema={"format": "date-time"})
]
Month: TypeAlias = Annotated[
    str,
    msgspec.Meta(description="Such as 2026-10", extra_json_schema={"pattern": "^[1-8][0-9]{3}-(0[1-9]|1[0-2])$"}),
]
DecimalText: TypeAlias = Annotated[
    str, msgspec.Meta(description="A decimal number", extra_json_schema={"pattern": r"^-?[0-9]+(\.[0-9]+)?$"})
]
ShortText: TypeAlias = Annotated[str, msgspec.Meta(max_length=256)]
EventText: TypeAlias = Annotated[str, msgspec.Meta(description="What an attribute is compared with", max_length=1024)]
TenantName: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": TENANT_PATTERN})]
VersionNumber: TypeAlias = Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 0, "maximum": 2**31 - 1})]
Name: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": NAME_PATTERN})]
EventDocument: TypeAlias = Annotated[
    dict[str, Any],
    msgspec.Meta(
        description="A CloudEvent 1.0 in the JSON format",
        extra_json_schema={
            "required": ["specversion", "id", "source", "type"],
            "properties": {
                "specversion": {"const": "1.0"},
                "id": {"type": "string", "minLength": 1},
                "source": {"type": "string", "minLength": 1, "format": "uri-reference"},
                "type": {"type": "string", "minLength": 1},
                "subject": {"type": "string", "minLength": 1},
                "time": {"type": "string", "format": "date-time"},
                "datacontenttype": {"type": "string", "minLength": 1},
                "dataschema": {"type": "string", "format": "uri"},
                "data": {},
                "data_base64": {"type": "string", "contentEncoding": "base64"},
            },
        },
    ),
]
