"""EventRunner: high-throughput, multi-tenant event processing. The library that all stages share."""
