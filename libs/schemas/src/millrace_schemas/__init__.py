"""Contracts of Millrace: generated protobuf code, topics, datasets, examples."""
