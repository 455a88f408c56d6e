"""Each rule of the shipped profile: a scenario is red without it, or a reason says why it stays."""

from proof import needed
from proof.needed import NEEDED, PROFILE, UNNEEDED


def _words(rule: str) -> set[str]:
    """Return what the stored trials of each cell say of a rule, with the scenario that is red."""
    known, words = needed.read(), set()
    for cell in {cell for cell, name, _ in known if name == PROFILE}:
        try:
            word, name, _ = needed.word(known, (cell, PROFILE, frozenset({rule})))
        except KeyError:
            continue
        words.add(f"{word}: {name}" if name else word)
    return words


def test_each_rule_of_the_profile_is_red_when_it_is_missing_or_stays_for_a_reason() -> None:
    stays, rules, wrong = needed.stays(), needed.recipes()[PROFILE].lines, {}
    assert stays.keys() <= {*rules}
    for rule in rules:
        words = _words(rule)
        is_needed = any(word.startswith(f"{NEEDED}: ") for word in words)
        if is_needed == (rule in stays) or not (is_needed or words == {UNNEEDED}):
            wrong[rule] = words
    assert not wrong
