"""Example records of every topic, by topic directory."""
