"""All of Millrace in one process, nothing to install."""
