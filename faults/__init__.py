"""Ways of breaking a healthy target on purpose, with the verdict each must cause.

``pytest faults/`` restores a compliant lab, breaks one thing, asks the gate, and compares.
"""
