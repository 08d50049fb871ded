"""What each stage does with a batch, free of server and streams."""
