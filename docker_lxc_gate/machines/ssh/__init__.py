"""Reaching a node over SSH: the connection, and the user's own SSH files."""
