"""The Delta tables of the lake: their files, their log, their durability."""
