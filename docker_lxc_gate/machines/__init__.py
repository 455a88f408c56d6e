"""Reaching machines: how anything is run, read and written on a node or in a container."""
