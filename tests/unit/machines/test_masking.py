"""Secrets that were planted are found by the one function that every exit goes through."""

import time
import tomllib

import pytest

from docker_lxc_gate.masking import STARS, mask, mask_end, shown
from docker_lxc_gate.verdict.evidence import bounded
from tests.doubles.examples import in_depth
from tests.doubles.samples import sample

_SECRET = "hunter2Xyz9QwErTy"  # noqa: S105 - planted
_LONG = _SECRET * 2
_TEXTS = tomllib.loads(sample("secrets.toml"))


@pytest.mark.parametrize("form", _TEXTS["planted"])
def test_mask_planted_secret_is_starred(form: str) -> None:
    planted = form.format(s=_SECRET, l=_LONG, u="ABCDEFGH12345678")
    masked = mask(planted)
    assert STARS in masked
    assert _SECRET not in masked
    assert "ABCDEFGH12345678" not in masked


@pytest.mark.parametrize("text", _TEXTS["harmless"])
def test_mask_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"password: value must be {_SECRET}", f"password: {STARS} must be {_SECRET}"),
        ("mount -o password=x,uid=0 a", f"mount -o password={STARS},uid=0 a"),
        ("echo x | helm login --password-stdin", f"echo {STARS} | helm login --password-stdin"),
        ("Authorization: Bearer x.y==\nHost: a", f"Authorization: {STARS}\nHost: a"),
        ('{"password": "x", "a": 1}', f'{{"password": "{STARS}", "a": 1}}'),
    ],
)
def test_mask_text_with_words_around_a_value_keeps_the_words(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "unit",
    [
        *("a", "password: ", "secret: |\n x\n", "://a:", "curl -u ", "eyJ-", "\\", "密"),
        *("-----BEGIN PRIVATE KEY-----", "password:\n- x\n", "password='a\n", "password=\\'a\n"),
        *("chpasswd <<", "net -U a%", '"name":"password","value":"', "passwords: [", "$6$"),
    ],
)
def test_mask_hostile_text_takes_linear_time(unit: str) -> None:
    text = unit * ((1 << (20 if in_depth() else 17)) // len(unit.encode()))
    started = time.process_time()
    mask(text)
    assert time.process_time() - started < 10  # a quadratic rule takes minutes


def test_mask_of_a_cut_text_shows_no_half_secret() -> None:
    key = f"-----BEGIN PRIVATE KEY-----\n{_SECRET * 200}\n-----END PRIVATE KEY-----"
    for before in range(0, 60, 7):
        text = f"{'x' * before} {key} DB_PASSWORD={_SECRET}"
        assert _SECRET[:6] not in shown(text + " y" * 10_000, 50)
        assert _SECRET[-6:] not in mask_end(text, 20 + before)
    margin = 'password = "' + "x\n" * 1500 + '"'
    assert mask_end("y " * 100 + margin, 2000)
    assert mask_end("", 2000) == ""


_LINE = "MIIE" * 16
_KEY = f"-----BEGIN RSA PRIVATE KEY-----\n{(_LINE + chr(10)) * 49}-----END RSA PRIVATE KEY-----\n"


@pytest.mark.parametrize("more", [0, 500, 1000])
@pytest.mark.parametrize("key", [_KEY, _KEY.replace("\n", "\\n"), f"password: {_LINE * 49}\n"])
def test_mask_of_the_ends_of_many_keys_shows_no_line_of_one(key: str, more: int) -> None:
    """Masking shrinks them, so that what was cut in two could come into view."""
    text = key * 12 + "x " * more
    for shows in (bounded(text), mask_end(text, 2000), mask_end(text, 20), shown(text)):
        assert _LINE not in shows


def test_mask_of_a_key_without_its_beginning_stars_its_lines_alone() -> None:
    assert mask(_KEY[200:]) == f"{STARS}-----END RSA PRIVATE KEY-----\n"
    for text in ("no -----END PRIVATE KEY-----", "a: b\n-----END PRIVATE KEY-----\n"):
        assert mask(text) == text
