"""From a request body to JetStream. HTTP and gRPC share all of it but the reading of the request."""
