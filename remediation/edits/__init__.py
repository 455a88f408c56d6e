"""Pure functions from text to text: reading and changing a file's content."""
