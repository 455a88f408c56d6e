"""Secrets that were planted are found by the one function that every exit goes through."""

from __future__ import annotations

import time

import pytest

from docker_lxc_gate import masking
from docker_lxc_gate.masking import STARS, mask, mask_end, shown
from docker_lxc_gate.verdict.evidence import bounded
from tests.doubles.examples import in_depth

_SECRET = "hunter2Xyz9QwErTy"  # noqa: S105 - planted
_LONG = _SECRET * 2
_FORMS = (
    "PGPASSWORD={s}",
    "export API_KEY={s}",
    "apikey: {s}",
    '"apiKey": "{s}"',
    "AWS_SECRET_ACCESS_KEY={s}",
    "aws_session_token = {s}",
    "postgres://app:{s}@db/x",
    "https://{s}@github.example/x.git",
    "redis://:{s}@h:6379",
    "http://u:p@{s}@host/",
    "{{'http-proxy': 'http://u:{s}@p:3128'}}",
    "root:$6$salt${s}:19000:0",
    "$y$j9T$salt${s}",
    "$2b$12${s}",
    "Bearer {s}",
    "Basic {s}1==",
    "Authorization: Basic {s}",
    "Proxy-Authorization: Basic {s}",
    "curl -H 'X-Api-Key: {s}' x",
    "Cookie: session={s}",
    "Set-Cookie: session={s}",
    "PVEAPIToken=root@pam!x={s}",
    "sshpass -p {s} ssh x",
    "mysql -u root -p{s} db",
    "docker login -u me -p {s} registry",
    "curl -u me:{s} https://x",
    "curl --proxy-user me:{s} x",
    "redis-cli -a {s} ping",
    "x --password {s}",
    "x --password={s}",
    "x --password 'and {s}' y",
    'x --password="and {s}" y',
    "x -password {s}",
    "x --pass {s}",
    "x --token={s}",
    "<password>{s}</password>",
    "<ns:apiToken type='x'>{s}</ns:apiToken>",
    "password: |\n  {s}\n",
    "password => '{s}'",
    "password:{s}",
    "password=--{s}",
    "password: --{s}",
    "PASSWORD='{s} and more'",
    'password = "{s}"',
    'password="{s} and more" x',
    "pass={s}",
    "DB_PASS={s}",
    "SMTP_PASS: {s}",
    "MYSQL_PWD={s}",
    "ADMIN_PASSWORD_2={s}",
    "SECRET_KEY_BASE={s}",
    "passphrase={s}",
    "client_secret={s}",
    "clientSecret: '{s}'",
    "credentials={s}",
    "token: {s}",
    "encryption-key: {s}",
    "AccountKey={s}==",
    "PrivateKey = {s}=",
    "PresharedKey = {s}",
    "wpa_psk={s}",
    'psk="{s}"',
    "machine h login me password {s}",
    "requirepass {s}",
    "https://x/?sig={s}",
    "https://x/a?access_token={s}&b=1",
    "-----BEGIN RSA PRIVATE KEY-----\n{s}\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\n{s}",
    '{{"auth": "{s}=="}}',
    r'"{{\"password\": \"{s}\"}}"',
    *("ghp_{l}", "github_pat_{l}", "glpat-{l}", "xoxb-{l}", "dckr_pat_{l}", "npm_{l}", "pypi-{l}"),
    '{{"name":"DB_PASSWORD","value":"{s}"}}',
    '{{"value": "{s}", "name": "DB_PASSWORD"}}',
    r'"{{\"name\":\"DB_PASSWORD\",\"value\":\"{s}\"}}"',
    '{{"DB_PASSWORD": {{"value": "{s}"}}}}',
    "- name: DB_PASSWORD\n  value: {s}\n",
    '<add key="DbPassword" value="{s}"/>',
    "ENV DB_PASSWORD {s}",
    "ARG TOKEN {s}",
    '"passwords": ["a", "{s}"]',
    "passwords:\n  - a\n  - {s}\n",
    '["--password", "{s}"]',
    "password: |\n  a\n  {s}\n",
    "pw={s}",
    "DB_PW: {s}",
    "DB_PASSWORD\t{s}",
    "password:\n            {s}\n",
    "x --password \\\n  {s}",
    "x --encryption-key {s}",
    "x --db-password {s}",
    "PASSWORD=a;{s}",
    '"DB_PASSWORD=a {s}"',
    r'"password": "a\"{s}"',
    r"{{\"password\": \"a\\\"{s}\"}}",
    *("DB_PASSWÖRD={s}", "contraseña: {s}", "пароль={s}", "mot_de_passe: {s}", "密码\uff1a{s}"),
    *("pass\u200bword={s}", "password=\u200b{s}"),
    # A value that begins as a harmless word does.
    *("password: NOPASSWD{s}", "password: NOPASSWD:{s}", "PASSWORD=NOPASSWD {s}"),
    # Blanks and letters that are not ASCII.
    *("password:\u00a0{s}", "password\u2003=\x0b{s}", "--password\u00a0{s}", "Bearer\u3000{s}"),
    *("password:\u2028{s}", "\uff24\uff22_\uff30\uff37={s}", "pass\uff57ord: {s}"),
    "\U0001d429\U0001d430\uff1d{s}",
    # A quote or a blank within a value.
    *(r"password='a\'{s}'", r"--password 'a\'{s}' x", r"['--password', 'a\'{s}']"),
    *(r"password='a'\''{s}'", "password: 'a''{s}'", "password='a'\"'\"'{s}'", 'password="a""{s}"'),
    *(r"password=a\ {s}", r"password=a\${s}", r"--password a\ {s}", r"password=a\u0026{s}"),
    # A name, blanks, a value.
    *("DB_PASSWORD {s}", "export DB_PASSWORD  {s}", "  db_password {s}\r\nx", "SECRET_KEY {s}"),
    *("-e DB_PASSWORD {s} x", "set DB_PASSWORD '{s} y'", "dbPassword {s}"),
    # A value of several lines.
    *('password="a\n{s}"', "password='a\n b\n {s}'", '"password": "a\n{s}"', "PASSWORD='a\n{s}\n'"),
    *('export DB_PASSWORD="a\n{s}\nb"', "x --password 'a\n{s}' y", "password=a\\\n{s}"),
    'GOOGLE_CREDENTIALS=\'{{\n "k": 1,\n "a": {{"b": "{s}"}}\n}}\'',
    # A value of several words, and one with a comma or a slash.
    *("lxc.environment.runtime = DB_PASSWORD=a {s}", "lxc.environment: db_pass=a {s}"),
    *(
        "    - DB_PASSWORD=a {s}",
        "- 'DB_PASSWORD=a {s}'",
        "password: a {s}",
        "  adminSecret: a {s}",
    ),
    *("DB_PASSWORD: a {s} # it", "password=a,{s}", "x(password=a,{s},uid=0)", "x://u:1a/{s}@db"),
    # Arguments and standard input of single programs.
    *("ldapsearch -x -w {s} uid=x", "ldapadd -w 'a {s}'", "smbclient //h/x -U u%{s}"),
    *("rpcclient --user='u%a {s}' h", "chpasswd <<< root:{s}", "chpasswd <<EOF\nroot:{s}\nEOF"),
    *("echo 'root:a {s}' | pct exec 950 -- chpasswd", "docker login --password-stdin <<<{s}"),
    *("echo {s} | docker login --password-stdin", "printf %s '{s}' | helm login --password-stdin"),
    *("sk_live_{l}", "hvs.{l}", "AIza{l}", "AKIA{u}", "eyJhbGciOiJIUzI1NiJ9.eyJ{s}.{s}"),
)
_HARMLESS = (
    "Storage Driver: fuse-overlayfs",
    'apparmor="DENIED" operation="mount" profile="lxc-phoenix-v2" name="/var/lib/docker/"',
    "docker run -p 80:80 x",
    "mkdir -p /a/b && systemctl show docker -p MainPID,ExecMainStartTimestamp",
    "ssh://root@pve1:22/x",
    "Password login is not attempted.",
    "PasswordAuthentication yes",
    "password authentication is off",
    "PasswordAuthentication\u00a0yes",
    "DB_PASSWORD is not set",
    "token_bucket rate 5 x",
    'read -p "Password: "\necho "next line"',
    "sudo asks for a password: NOPASSWD in sudoers",
    "lxc.mount.entry: /dev/fuse dev/fuse none bind,create=file",
    "features: nesting=1,keyctl=1,fuse=1",
    "sha256:" + "a" * 64,
    "create keyring … Operation not permitted",
    "basic information: see below; compass: north; bypass=1",
    "a name\u200bwithout a secret",
    '{"name": "storage-driver", "value": "fuse-overlayfs"}',
    "ENV PATH /bin",
    "it needs a password:\n  - of root\n",
    "passed: 5, passes=2, pwm: 3",
    "passwd 1:4.17.4-2 amd64",
    *(
        "ftp://user@h/x",
        "http://registry:5000/a/b@sha256:1",
        "http://[::1]:80/a@b",
        "http://$H:$P/a@b",
    ),
    *(
        "ldapsearch -x -W -b dc=x",
        "date -U +%s",
        'echo "root:$PW" | chpasswd',
        "echo a: b | grep b",
    ),
)


@pytest.mark.parametrize("form", _FORMS)
def test_mask_planted_secret_is_starred(form: str) -> None:
    planted = form.format(s=_SECRET, l=_LONG, u="ABCDEFGH12345678")
    masked = mask(planted)
    assert STARS in masked
    assert _SECRET not in masked
    assert "ABCDEFGH12345678" not in masked


@pytest.mark.parametrize("text", _HARMLESS)
def test_mask_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"password: value must be {_SECRET}", f"password: {STARS} must be {_SECRET}"),
        ("password: value may only be 64 long", f"password: {STARS} may only be 64 long"),
        (f"password: check failed for {_SECRET}", f"password: {STARS} failed for {_SECRET}"),
        (f"Password: su: {_SECRET} failure", f"Password: {STARS} {_SECRET} failure"),
        ("mount -o password=x,uid=0 a", f"mount -o password={STARS},uid=0 a"),
        ("psk: a b # it", f"psk: {STARS} # it"),
        ("echo x | helm login --password-stdin", f"echo {STARS} | helm login --password-stdin"),
        ("Authorization: Bearer x.y==\nHost: a", f"Authorization: {STARS}\nHost: a"),
        ("password='x', a='b'", f"password='{STARS}', a='b'"),
        ('{"password": "x", "a": 1}', f'{{"password": "{STARS}", "a": 1}}'),
    ],
)
def test_mask_text_with_words_around_a_value_keeps_the_words(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "unit",
    [
        *("a", "password", "password: ", "PASSWORD=", "pw=x ", "_pass", "secret: |\n x\n"),
        *("://", "://a:", "login ", "<password ", "curl -u ", "docker login ", "eyJ", "eyJ-", "\\"),
        *("--token '", "-----BEGIN PRIVATE KEY-----", "name: password\n", "password:\n- x\n", "密"),
        *("password='a\n", "PASSWORD=\"a\n'", "db_password a1 ", "password=\\'a\n", "\u00a0"),
        *(
            "password: a b ",
            "password: a\n",
            "password=a,",
            "://a:b/",
            "- DB_PASSWORD=a ",
            "echo a:b|",
        ),
        *(
            "ldapadd ",
            "smbclient -U ",
            "chpasswd <<",
            "echo a",
            "lxc.environment=PASSWORD",
            "net -U a%",
        ),
        *('"name":"password","value":"', '{"value":"x",', "passwords: [", "$6$", "basic a"),
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


def test_text_without_a_secret_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masking was a third of the gate's processor time when each rule searched each text."""
    monkeypatch.setattr(masking, "_RULES", (None,))
    assert mask("features: nesting=1,keyctl=1") == "features: nesting=1,keyctl=1"
    with pytest.raises(AttributeError):
        mask(f"password: {_SECRET}")


_LINE = "MIIE" * 16
_KEY = f"-----BEGIN RSA PRIVATE KEY-----\n{(_LINE + chr(10)) * 49}-----END RSA PRIVATE KEY-----\n"


@pytest.mark.parametrize("more", [0, 500, 1000])
@pytest.mark.parametrize("key", [_KEY, _KEY.replace("\n", "\\n"), f"password: |\n  {_LINE * 49}\n"])
def test_mask_of_the_ends_of_many_keys_shows_no_line_of_one(key: str, more: int) -> None:
    """Masking shrinks them, so that what was cut in two could come into view."""
    text = key * 12 + "x " * more
    for shows in (bounded(text), mask_end(text, 2000), mask_end(text, 20), shown(text)):
        assert _LINE not in shows


def test_mask_of_a_bounded_text_leaves_it_as_it_is() -> None:
    text = bounded(f"token={_LINE}\n" * 1000)
    assert bounded(text) == text


def test_mask_of_a_key_without_its_beginning_stars_its_lines_alone() -> None:
    assert mask(_KEY[200:]) == f"{STARS}-----END RSA PRIVATE KEY-----\n"
    for text in ("no -----END PRIVATE KEY-----", "a: b\n-----END PRIVATE KEY-----\n"):
        assert mask(text) == text


def test_mask_of_a_secret_that_begins_in_the_margin_leaves_stars() -> None:
    secret = 'password = "' + "x\n" * 1500 + '"'
    assert mask_end("y " * 100 + secret, 2000)
    assert mask_end("", 2000) == ""
