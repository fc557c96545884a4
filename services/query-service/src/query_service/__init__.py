"""Answers from the lake in milliseconds."""
