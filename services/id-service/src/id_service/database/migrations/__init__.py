"""Alembic's scripts; they ship with the package and run at start (ID-7)."""
