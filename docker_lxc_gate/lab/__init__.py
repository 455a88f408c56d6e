"""The lab: a nested-LXC CI VM that this project builds, boots, snapshots and throws away."""
