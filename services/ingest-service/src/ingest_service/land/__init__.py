"""Bus -> lake: each record lands exactly once."""
