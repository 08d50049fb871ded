"""What a plan gives the consumers of its tenants: the limits of one call, within those that hold for every plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

import msgspec

from eventrunner.errors import FieldError, InvalidInput
from eventrunner.storage.records import Limits

__all__ = ["HARD_LIMITS", "ConsumerLimits", "OverPlan", "SomeLimits"]

HARD_LIMITS: Final[dict[str, int]] = msgspec.structs.asdict(
    Limits(
        fuel=100_000_000_000,
        milliseconds=30_000,
        memory_bytes=512 * 1024 * 1024,
        output_bytes=8 * 1024 * 1024,
        publishes=10_000,
        log_bytes=1024 * 1024,
    )
)
"""By the name of the limit: the most that a plan may give, and what one gives that says nothing."""

_DEFAULTS: Final[dict[str, int]] = msgspec.structs.asdict(Limits())


@dataclass(eq=False)
class OverPlan(InvalidInput):
    code = "over-plan"


def _number(name: str) -> msgspec.Meta:
    """Says in the API's description what `problems` checks."""
    return msgspec.Meta(extra_json_schema={"minimum": 1, "maximum": HARD_LIMITS[name]})


_Unset: TypeAlias = msgspec.UnsetType


class SomeLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Those of `Limits` that are given."""

    fuel: Annotated[int, _number("fuel")] | _Unset = msgspec.UNSET
    milliseconds: Annotated[int, _number("milliseconds")] | _Unset = msgspec.UNSET
    memory_bytes: Annotated[int, _number("memory_bytes")] | _Unset = msgspec.UNSET
    output_bytes: Annotated[int, _number("output_bytes")] | _Unset = msgspec.UNSET
    publishes: Annotated[int, _number("publishes")] | _Unset = msgspec.UNSET
    log_bytes: Annotated[int, _number("log_bytes")] | _Unset = msgspec.UNSET

    def given(self) -> dict[str, int]:
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not msgspec.UNSET}


class ConsumerLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    ceilings: SomeLimits = SomeLimits()
    """The most that a consumer may have; what is left out, as much as any plan may give."""
    defaults: SomeLimits = SomeLimits()
    """What a consumer has that does not ask; what is left out, the platform's, or the ceiling where that is less."""

    def choose(self, asked: Mapping[str, int], plan: str) -> Limits:
        """The limits of a consumer that asks for these, by name. Raises OverPlan, which names each ceiling that is in
        the way."""
        ceilings = HARD_LIMITS | self.ceilings.given()
        over = [name for name in asked if asked[name] > ceilings[name]]
        if over:
            most = ", ".join(f"{name} of at most {ceilings[name]}" for name in over)
            raise OverPlan(
                f"The plan {plan} allows {most}. Ask for no more, or an operator for another plan.",
                tuple(FieldError(name, f"at most {ceilings[name]}") for name in over),
            )
        defaults = _DEFAULTS | self.defaults.given()
        return Limits(**{name: asked.get(name, min(defaults[name], most)) for name, most in ceilings.items()})

    def problems(self) -> Iterator[FieldError]:
        """What a plan may not say."""
        ceilings = self.ceilings.given()
        for part, limits, most in (
            ("ceilings", ceilings, HARD_LIMITS),
            ("defaults", self.defaults.given(), HARD_LIMITS | ceilings),
        ):
            for name, value in limits.items():
                if not 1 <= value <= most[name]:
                    yield FieldError(f"{part}.{name}", f"from 1 to {most[name]}")
