"""Read-only SQL about the lake for analysts.

Read in this order: `question` (what was asked), `allowed` (what a statement may be), `views` (the live files as views),
`worker` (the process that runs it) with `confine` (what that process may touch), `workers` (the processes, from
outside), `engine` (one question from text to answer), `shape` (JSON, CSV, Arrow), `routes` and `rpc`.

A statement runs in a process of its own, because DuckDB's limit of memory does not cover every value that an expression
makes, and whatever a statement does to its process must not be the service's end.
"""
