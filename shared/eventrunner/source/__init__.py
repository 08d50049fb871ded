"""JetStreamSource: pulls batches from JetStream, posts them to a sink, stores the reply, and only then acks."""
