"""Each rule of the profile that was tried: a scenario is red without it, or a reason stands."""

from docker_lxc_gate.formats.apparmor_profile import statements
from proof import needed
from proof.needed import NEEDED, PROFILE, UNNEEDED
from remediation import desired


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
    stays, wrong = {rule for row in needed.TABLE.stays for rule in row.rules}, {}
    assert stays <= set(map(str, statements(desired.profile().decode())))
    for rule in needed.recipes()[PROFILE].lines:
        words = _words(rule)
        red = any(word.startswith(f"{NEEDED}: ") for word in words)
        if words and (red == (rule in stays) or not (red or words == {UNNEEDED})):
            wrong[rule] = words
    assert not wrong
