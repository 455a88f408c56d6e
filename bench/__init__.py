"""Side-by-side measurements; ``python -m bench``. They never time-out a test."""
