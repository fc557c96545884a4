"""The edges: HTTP and gRPC."""
