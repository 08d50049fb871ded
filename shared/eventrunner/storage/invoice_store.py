"""Where closed invoices live: beside the events, written once."""

from __future__ import annotations

from typing import Protocol

__all__ = ["InvoiceStore"]


class InvoiceStore(Protocol):
    def put_invoice(self, tenant: str, invoice_id: str, period: str, body: bytes) -> bool:
        """False, and nothing changed, if the tenant has an invoice of that id already. `period` sorts as text."""

    def get_invoice(self, tenant: str, invoice_id: str) -> bytes | None: ...

    def invoices(self, tenant: str) -> list[bytes]:
        """Newest period first; within a period the one stored last first."""
