"""Who is calling and what they may do: gateway identities, API keys, the policy."""
