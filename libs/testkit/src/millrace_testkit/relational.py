"""Databases for tests of what keeps rows: a file, or a schema of the shared PostgreSQL server."""

from __future__ import annotations

import itertools
import os

_numbers = itertools.count(1)


async def new_schema(server: str) -> str:
    """URL of an empty schema in the database of the URL `server`, that no test was given before.

    Made in a hundredth of the time of a database. A user of the URL sees this schema alone.
    """
    import asyncpg

    name = f"test_{os.getpid()}_{next(_numbers)}"
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f"CREATE SCHEMA {name}")
    finally:
        await connection.close()
    return f"{server}?options=-csearch_path%3D{name}"
