"""Runtimes, which manage the containers of a node, and their configuration files."""
