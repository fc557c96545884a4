"""Taking messages in: HTTP and gRPC bodies become durable journal lines before they are answered."""
