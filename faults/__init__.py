"""Ways of breaking a healthy target on purpose, with the verdict each must cause.

``python -m faults`` restores a compliant lab, breaks one thing, asks the gate, and compares: each
row of :mod:`faults.catalogue` turns red what it names and nothing else. ``tests/live/healthy.py``
has targets on which nothing may be red.
"""
