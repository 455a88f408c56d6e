"""Typed observations of machines. Nothing here changes what it looks at."""
