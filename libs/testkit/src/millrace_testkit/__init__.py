"""Test tools of Millrace: contract suites, stacks, crash points, reference model."""
