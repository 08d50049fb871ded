"""Where things are kept: event store, analytics, registry."""
