"""The documentation, and the program that rewrites what of it follows from the code."""
