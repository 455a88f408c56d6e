"""How many examples Hypothesis tries: all of them in `scripts/test --all`, else a tenth."""

from __future__ import annotations

from hypothesis import settings


def examples(most: int) -> settings:
    """Return settings with so many examples, or the share of them that the profile allows."""
    return settings(max_examples=max(3, most * settings.default.max_examples // 100))
