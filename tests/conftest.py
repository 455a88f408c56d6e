"""Hypothesis's settings for every test: a loaded machine makes no test red."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "all",
    max_examples=100,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("few", settings.get_profile("all"), max_examples=10)
settings.load_profile("all")
