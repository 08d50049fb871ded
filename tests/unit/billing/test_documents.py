from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from eventrunner.billing.documents import invoice_csv, invoice_html, rows_csv
from eventrunner.billing.invoices import make_invoice
from eventrunner.billing.periods import Period
from eventrunner.billing.plans import Flat, Plan
from eventrunner.storage.analytics_model import Totals


def _document(label: str = "Fee", **fields: Any) -> dict[str, Any]:
    plan = Plan(name="p", charges=[Flat(label=label, amount=Decimal("9"))], currency="EUR")
    values = {"status": "final", "issued": datetime(2026, 11, 1, tzinfo=UTC), **fields}
    return make_invoice("UA", Period(2026, 10), plan, Totals(), **values).to_document()


def test_csv_has_a_row_for_each_line_and_the_total() -> None:
    rows = list(csv.DictReader(io.StringIO(invoice_csv(_document('a, "b"\nc')))))
    assert [(row["invoice"], row["label"], row["amount"], row["currency"]) for row in rows] == [
        ("UA-202610-001", 'a, "b"\nc', "9.00", "EUR"),
        ("UA-202610-001", "Total", "9.00", "EUR"),
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_no_text_becomes_a_formula(text: str) -> None:
    assert f"'{text}" in rows_csv(["a"], [{"a": text}])


def test_html_names_what_a_reader_looks_for() -> None:
    page = invoice_html(_document())
    assert all(text in page for text in ("UA-202610-001", "2026-10-01", "9.00", "EUR", "p, version 1"))
    assert "preview" not in page.partition("<body>")[2]
    assert "preview" in invoice_html(_document(status="preview")).partition("<body>")[2]


def test_html_of_hostile_text_is_text() -> None:
    page = invoice_html(_document("<script>alert(1)</script>"))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
