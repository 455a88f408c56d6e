"""Ways of breaking a healthy target on purpose, with the verdicts each must cause.

``pytest proof/faults`` restores a compliant lab, breaks one thing, runs the gate, and compares.
Each row of ``rows/`` must turn red the scenarios that it names and no other.
``tests/live/cases/healthy.py`` has targets on which no scenario may be red.
"""
