"""Ids for everybody: segment numbers and UUIDs, unique whatever fails (ID-1, ID-2)."""
