"""One file per process; each can be run by `python -m`."""
