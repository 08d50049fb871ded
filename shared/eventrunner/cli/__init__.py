"""The command line `eventrunner`."""
