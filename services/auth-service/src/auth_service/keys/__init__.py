"""Workspaces and API keys: their text, their rules, their storage and the two doors to them."""
