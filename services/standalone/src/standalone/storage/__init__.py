"""`millrace storage …`: the lake's files by hand, without a running service (LAKE section 12).

`cli` lists the commands; each lives in a module of its own. `roots` says which directories they work on,
`outcome` how they end.
"""
