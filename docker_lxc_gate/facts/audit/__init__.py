"""The audit log and the window in which it is watched."""
