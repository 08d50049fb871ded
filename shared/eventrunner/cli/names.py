"""Names of what a tenant has, as arguments: TENANT/NAME."""

from __future__ import annotations

from typing import Any, NamedTuple

import click

__all__ = ["OwnedName", "OwnedNameType"]


class OwnedName(NamedTuple):
    tenant: str
    name: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.name}"


class OwnedNameType(click.ParamType[OwnedName]):
    name = "TENANT/NAME"

    def __init__(self, example: str) -> None:
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> OwnedName:
        if isinstance(value, OwnedName):
            return value
        tenant, _, name = str(value).partition("/")
        if not tenant or not name or "/" in name:
            self.fail(f"{value!r} is not TENANT/NAME, such as {self._example}")
        return OwnedName(tenant, name)
