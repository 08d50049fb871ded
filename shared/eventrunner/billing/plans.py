"""Plans: what a tenant pays for what, and what its consumers may have.

A plan is a document (JSON in the registry, YAML where it ships) in which every number with a fraction is a string, so
that no amount ever passes through a float.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from importlib.resources import files
from typing import Annotated, Any, TypeAlias

import msgspec

from eventrunner.billing.consumer_limits import ConsumerLimits
from eventrunner.billing.meters import METERS, QUANTITY_DIGITS
from eventrunner.errors import FieldError, InvalidInput, MalformedBody
from eventrunner.storage.records import Limits

__all__ = [
    "Charge",
    "Flat",
    "Graduated",
    "Package",
    "PerUnit",
    "Plan",
    "PlanName",
    "Tier",
    "parse_plan",
    "shipped_plan",
]

_CURRENCY = re.compile(r"[A-Z]{3}")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
_MOST_DIGITS = 4
_HIGHEST_PRICE = Decimal(10) ** 9
_MOST_UNITS = Decimal(10) ** 15
_QUANTITY = f"up to 10^15, with at most {QUANTITY_DIGITS} decimals"


def _schema(**more: Any) -> msgspec.Meta:
    """Says in the API's description what `_problems` checks."""
    return msgspec.Meta(extra_json_schema=more)


def _number(pattern: str, least: int, most: Decimal) -> msgspec.Meta:
    """Of the string, and of the whole number that may stand in its place."""
    return _schema(pattern=f"^{pattern}$", minimum=least, maximum=int(most))


_MONEY = rf"([0-9]{{1,9}}(\.[0-9]{{1,12}})?|{_HIGHEST_PRICE:f})"
_AMOUNT = rf"([0-9]{{1,15}}(\.[0-9]{{1,{QUANTITY_DIGITS}}})?|{_MOST_UNITS:f})"
PlanName: TypeAlias = Annotated[str, _schema(pattern=f"^{_NAME.pattern}$")]
_Price: TypeAlias = Annotated[Decimal, _number(_MONEY, 0, _HIGHEST_PRICE)]
_Quantity: TypeAlias = Annotated[Decimal, _number(_AMOUNT, 0, _MOST_UNITS)]
_Units: TypeAlias = Annotated[Decimal, _number(f"(?![0.]+$){_AMOUNT}", 1, _MOST_UNITS)]


class _Charge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="model", kw_only=True):
    label: str
    """What the line of the invoice says."""


class _Metered(_Charge, frozen=True, forbid_unknown_fields=True, tag_field="model", kw_only=True):
    meter: Annotated[str, _schema(enum=list(METERS))]
    included: _Quantity = Decimal(0)
    """Units of each period that cost nothing."""


class Flat(_Charge, frozen=True, tag="flat", forbid_unknown_fields=True, tag_field="model", kw_only=True):
    amount: _Price
    """For each period."""


class PerUnit(_Metered, frozen=True, tag="per_unit", forbid_unknown_fields=True, tag_field="model", kw_only=True):
    unit_price: _Price
    per: _Units = Decimal(1)
    """Units that the unit price is for; a part of them costs its part."""


class Package(_Metered, frozen=True, tag="package", forbid_unknown_fields=True, tag_field="model", kw_only=True):
    price: _Price
    size: _Units
    """Units in a package; a package that was begun is paid."""


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    unit_price: _Price
    up_to: _Units | None = None
    """The last unit of this tier, counted after those included. None in the last tier only."""


class Graduated(_Metered, frozen=True, tag="graduated", forbid_unknown_fields=True, tag_field="model", kw_only=True):
    tiers: Annotated[list[Tier], _schema(minItems=1)]
    """Each unit costs what the tier in which it falls says."""
    per: _Units = Decimal(1)


Charge: TypeAlias = Flat | PerUnit | Package | Graduated


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: PlanName
    version: Annotated[int, _schema(minimum=1, maximum=2**31 - 1)] = 1
    currency: Annotated[str, _schema(pattern=f"^{_CURRENCY.pattern}$")] = "USD"
    minor_units: Annotated[int, _schema(minimum=0, maximum=_MOST_DIGITS)] = 2
    """Digits after the point of an amount."""
    charges: list[Charge]
    """Their lines stand on the invoice in this order."""
    consumers: ConsumerLimits = ConsumerLimits()

    def consumer_limits(self, asked: Mapping[str, int]) -> Limits:
        """Of a consumer that asks for these, by the name of the limit. Raises OverPlan."""
        return self.consumers.choose(asked, self.name)

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)


def parse_plan(document: bytes, name: str | None = None) -> Plan:
    """Reads the JSON of a plan, which may leave its name out where `name` gives it. Raises MalformedBody, or
    InvalidInput that names every wrong field."""
    try:
        value = msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"The plan is not JSON: {error}.") from error
    return _plan(value, name)


def shipped_plan(name: str) -> Plan | None:
    """A plan of those that come with the package."""
    import yaml

    if _NAME.fullmatch(name) is None:
        return None
    file = files("eventrunner.billing").joinpath("plans", f"{name}.yaml")
    return _plan(yaml.safe_load(file.read_text()), name) if file.is_file() else None


def _plan(value: Any, name: str | None) -> Plan:
    problems = list(_floats(value, ""))
    if problems:
        raise InvalidInput("A plan's numbers with a fraction are strings.", tuple(problems))
    if isinstance(value, dict) and name is not None:
        value = {"name": name, **value}
    try:
        plan = msgspec.convert(value, Plan)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").lstrip(".")
        raise InvalidInput(f"The plan is not valid: {message}.", (FieldError(field, message),)) from error
    problems = list(_problems(plan, name))
    if problems:
        raise InvalidInput("The plan is not valid.", tuple(problems))
    return plan


def _floats(value: Any, path: str) -> Iterator[FieldError]:
    if isinstance(value, float):
        yield FieldError(path, f'write "{value}" as a string')
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _floats(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _floats(item, f"{path}[{index}]")


def _problems(plan: Plan, name: str | None) -> Iterator[FieldError]:
    if _NAME.fullmatch(plan.name) is None or (name is not None and plan.name != name):
        yield FieldError("name", f"must be {name!r}" if name else "letters, digits, '-' and '_'")
    if not 1 <= plan.version < 2**31:
        yield FieldError("version", "from 1 to 2147483647")
    if _CURRENCY.fullmatch(plan.currency) is None:
        yield FieldError("currency", "an ISO 4217 code such as EUR")
    if not 0 <= plan.minor_units <= _MOST_DIGITS:
        yield FieldError("minor_units", f"from 0 to {_MOST_DIGITS}")
    for index, charge in enumerate(plan.charges):
        for problem in _charge_problems(charge):
            yield FieldError(f"charges[{index}].{problem.field}", problem.message)
    for problem in plan.consumers.problems():
        yield FieldError(f"consumers.{problem.field}", problem.message)


def _charge_problems(charge: Charge) -> Iterator[FieldError]:
    prices: dict[str, Decimal] = {}
    units: dict[str, Decimal] = {}
    match charge:
        case Flat():
            prices["amount"] = charge.amount
        case PerUnit():
            prices["unit_price"] = charge.unit_price
            units["per"] = charge.per
        case Package():
            prices["price"] = charge.price
            units["size"] = charge.size
        case Graduated():
            prices |= {f"tiers[{index}].unit_price": tier.unit_price for index, tier in enumerate(charge.tiers)}
            units["per"] = charge.per
            yield from _tier_problems(charge.tiers)
    for field, price in prices.items():
        if not (price.is_finite() and 0 <= price <= _HIGHEST_PRICE):
            yield FieldError(field, "from 0 to 10^9")
    for field, number in units.items():
        if not _is_quantity(number) or number == 0:
            yield FieldError(field, f"more than 0, {_QUANTITY}")
    if isinstance(charge, Flat):
        return
    if charge.meter not in METERS:
        yield FieldError("meter", f"one of {', '.join(METERS)}")
    if not _is_quantity(charge.included):
        yield FieldError("included", f"from 0, {_QUANTITY}")


def _tier_problems(tiers: Sequence[Tier]) -> Iterator[FieldError]:
    if not tiers or tiers[-1].up_to is not None:
        yield FieldError("tiers", "the last tier has no up_to, so that every unit has a price")
    below = Decimal(0)
    for index, tier in enumerate(tiers[:-1]):
        if tier.up_to is None or not _is_quantity(tier.up_to) or tier.up_to <= below:
            yield FieldError(f"tiers[{index}].up_to", f"more than {below}, {_QUANTITY}")
        else:
            below = tier.up_to


def _is_quantity(number: Decimal) -> bool:
    """What can be compared with a quantity on an invoice without a rest."""
    return number.is_finite() and 0 <= number <= _MOST_UNITS and number == round(number, QUANTITY_DIGITS)
