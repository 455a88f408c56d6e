"""What a run prints and writes, from its record: a form a file."""
