"""Replay of history: stored events once more through a rule set, or to a consumer."""
