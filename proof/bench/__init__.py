"""What ``scripts/bench`` asks of the project's own modules, and other tools' plays."""
