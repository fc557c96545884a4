"""Numbers from ranges that a database row hands out, each range to one process only (ID-12, ID-13)."""
