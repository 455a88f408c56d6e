"""What files alone can tell before anything starts: bytes in, findings out; no host needed."""
