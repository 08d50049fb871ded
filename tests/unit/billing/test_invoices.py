from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from eventrunner.billing.invoices import Invoice, invoice_id, make_invoice
from eventrunner.billing.periods import Period
from eventrunner.billing.plans import Plan, shipped_plan
from eventrunner.storage.analytics_model import Totals
from hypothesis import given
from strategies_billing import plans, totals

_PERIOD = Period(2026, 10)
_ISSUED = datetime(2026, 11, 1, 0, 5, tzinfo=UTC)


def _invoice(plan: Plan, usage: Totals) -> Invoice:
    return make_invoice("UA", _PERIOD, plan, usage, status="final", issued=_ISSUED)


def test_the_id_names_tenant_month_and_number() -> None:
    assert invoice_id("UA", Period(2026, 3)) == "UA-202603-001"


def test_the_standard_plan_bills_a_known_month_to_the_cent() -> None:
    plan = shipped_plan("standard")
    assert plan is not None
    usage = Totals(
        events=1_234_567, cpu=10 * 3600 * 10**9, memory=2**20 * 1000 * 3600 * 5, ingress=3 * 2**30, egress=2**30 // 2
    )
    document = _invoice(plan, usage).to_document()
    assert {(line["label"], line["quantity"], line["amount"]) for line in document["lines"]} == {
        ("Base fee", "1", "9.00"),
        ("Events, included", "10000", "0.00"),
        ("Events, tier 1", "1000000", "250.00"),
        ("Events, tier 2", "224567", "26.95"),
        ("CPU, included", "1", "0.00"),
        ("CPU", "9", "0.72"),
        ("Memory, included", "1", "0.00"),
        ("Memory", "4", "0.04"),
        ("Data in, included", "1", "0.00"),
        ("Data in", "2", "0.04"),
        ("Data out, included", "0.5", "0.00"),
    }
    assert document["total"] == "286.75"


def test_a_plan_without_charges_costs_nothing_in_its_own_digits() -> None:
    assert str(_invoice(Plan(name="free", charges=[], minor_units=3), Totals(5)).total) == "0.000"


@given(plans(), totals())
def test_the_total_is_the_sum_of_the_lines(plan: Plan, usage: Totals) -> None:
    document = _invoice(plan, usage).to_document()
    assert Decimal(document["total"]) == sum(Decimal(line["amount"]) for line in document["lines"])


@given(plans(), totals())
def test_the_same_values_give_the_same_document(plan: Plan, usage: Totals) -> None:
    again = Plan(**{name: getattr(plan, name) for name in plan.__struct_fields__})
    assert _invoice(plan, usage).to_json() == _invoice(again, Totals(*usage)).to_json()


@given(plans(), totals())
def test_no_number_of_the_document_is_a_float(plan: Plan, usage: Totals) -> None:
    def check(value: Any) -> None:
        assert not isinstance(value, float)
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(item)

    document = json.loads(_invoice(plan, usage).to_json())
    check(document)
    assert all(isinstance(line["amount"], str) for line in document["lines"])
