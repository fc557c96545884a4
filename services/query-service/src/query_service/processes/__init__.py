"""One module per process of this service."""
