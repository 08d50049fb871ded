"""Checks of a running installation, by asking it what it must refuse."""
