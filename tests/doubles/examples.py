"""How much is tried: everything in `scripts/test --all`, else a sample."""

from hypothesis import settings


def examples(most: int) -> settings:
    """Return settings with so many examples, or the share of them that the profile allows."""
    return settings(max_examples=max(3, most * settings.default.max_examples // 100))


def in_depth() -> bool:
    """Whether all is tried that there is: the profile of `scripts/test` is not in effect."""
    return settings.default.max_examples == settings.get_profile("all").max_examples
