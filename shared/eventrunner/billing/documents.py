"""Invoices and usage as CSV and HTML, made of their JSON documents, so that a stored invoice never changes its looks
with what has been computed since."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

__all__ = ["invoice_csv", "invoice_html", "rows_csv"]

_LINE_COLUMNS = ("label", "meter", "quantity", "unit", "unit_price", "per", "amount")
# A spreadsheet takes a cell that starts like this for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Invoice {id}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.6rem; margin: 0; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: 0 1.5rem; }}
dt {{ color: #666; }} dd {{ margin: 0; }}
table {{ width: 100%; border-collapse: collapse; margin-top: 2rem; }}
th, td {{ text-align: right; padding: .4rem .5rem; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums; }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; }}
tfoot td {{ font-weight: 600; border-top: 2px solid #1a1a1a; border-bottom: 0; }}
.preview {{ color: #a15c00; }}
</style>
</head>
<body>
<h1>Invoice {id}{mark}</h1>
<dl>
<dt>Tenant</dt><dd>{tenant}</dd>
<dt>Period</dt><dd>{since} to {until} (UTC)</dd>
<dt>{issued_label}</dt><dd>{issued}</dd>
<dt>Plan</dt><dd>{plan}</dd>
</dl>
<table>
<thead><tr><th>Item</th><th>Quantity</th><th>Unit price</th><th>Amount ({currency})</th></tr></thead>
<tbody>
{lines}
</tbody>
<tfoot><tr><td colspan="3">Total</td><td>{total}</td></tr></tfoot>
</table>
</body>
</html>
"""


def invoice_csv(document: Mapping[str, Any]) -> str:
    """One row a line, then the total; every row names the invoice."""
    head = {"invoice": document["id"], "period": document["period"], "currency": document["currency"]}
    rows = [head | line for line in document["lines"]]
    rows.append(head | {"label": "Total", "amount": document["total"]})
    return rows_csv((*head, *_LINE_COLUMNS), rows)


def rows_csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """RFC 4180, in which no text is taken for a formula."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column, "")) for column in columns] for row in rows)
    return out.getvalue()


def invoice_html(document: Mapping[str, Any]) -> str:
    """A page of its own that prints well."""
    preview = document["status"] == "preview"
    values = {
        "id": document["id"],
        "tenant": document["tenant"],
        "since": document["from"][:10],
        "until": document["to"][:10],
        "issued": document["issued"][:19].replace("T", " "),
        "issued_label": "As of" if preview else "Issued",
        "plan": f"{document['plan']['name']}, version {document['plan']['version']}",
        "currency": document["currency"],
        "total": document["total"],
    }
    page = {name: escape(str(value)) for name, value in values.items()}
    mark = ' <small class="preview">preview</small>' if preview else ""
    return _PAGE.format(**page, mark=mark, lines="\n".join(_html_line(line) for line in document["lines"]))


def _html_line(line: Mapping[str, str]) -> str:
    price = line["unit_price"] if line["per"] == "1" else f"{line['unit_price']} per {line['per']}"
    cells = (line["label"], f"{line['quantity']} {line['unit']}", price, line["amount"])
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _cell(value: Any) -> str:
    text = str(value)
    return "'" + text if text.startswith(_FORMULA) else text
