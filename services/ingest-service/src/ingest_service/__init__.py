"""Webhooks in, durable, exactly once into the lake."""
