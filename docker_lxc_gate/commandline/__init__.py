"""The shared parts of all command lines of this project."""
