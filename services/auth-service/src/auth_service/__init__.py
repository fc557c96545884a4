"""Who may ask: workspaces and API keys, over gRPC and HTTP."""
