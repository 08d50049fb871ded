"""Prices and invoices, in whole numbers and decimals only: values in, values out, no I/O."""
