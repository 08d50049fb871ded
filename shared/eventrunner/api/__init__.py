"""The management and query calls: tenants, keys, plans, rules, events."""
