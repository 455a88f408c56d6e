"""The commands that a run calls seldom; `pct exec` and `pct status` are in ``quick``."""
