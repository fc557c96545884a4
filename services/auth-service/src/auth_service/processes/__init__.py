"""One module a process."""
