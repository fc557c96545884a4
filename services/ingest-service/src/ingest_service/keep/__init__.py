"""Keeping the lake small and tidy: compaction, log upkeep, removal of files nobody needs."""
