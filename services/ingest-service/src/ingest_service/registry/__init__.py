"""Schema versions of the datasets (LAKE-80 to LAKE-85).

`types` says a type in a text that reads back exactly, `compare` how two versions relate, `registry` keeps the
versions in `metadata/schema_registry.json`, `scan` tells what versions the files of a tree have.
"""
