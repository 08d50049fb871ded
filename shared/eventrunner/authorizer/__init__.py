"""The service that Oathkeeper asks: who holds a key, and what the policy says."""
