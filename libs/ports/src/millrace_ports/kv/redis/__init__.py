"""The Redis adapter."""
