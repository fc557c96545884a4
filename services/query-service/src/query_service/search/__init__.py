"""From a question about messages to the rows that answer it.

Read in this order: `request` (what was asked), `files` (which data files can hold it), `sql` (how
DuckDB is asked), `run` (asking, with retries), `shape` and `mask` (what leaves the service).
"""
