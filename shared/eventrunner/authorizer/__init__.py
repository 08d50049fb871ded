"""The service that Oathkeeper asks: who holds a key, what the policy says, whether a quota is used up."""
