"""The command line of ``python -m remediation``."""
