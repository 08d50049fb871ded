"""Takes events in over gRPC and answers when JetStream has stored them."""

from pathlib import Path

from eventrunner.ingest.grpc_server import serve

if __name__ == "__main__":
    serve(Path(__file__).parents[2] / "policies")
