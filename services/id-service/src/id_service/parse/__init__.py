"""What an id says of itself (ID-34, ID-35)."""
