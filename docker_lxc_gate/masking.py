"""Masking: secrets are replaced by stars, by their name or by their form.

All output of the program goes through :func:`mask`. The names and forms are the rules of gitleaks
and detect-secrets that fit a hypervisor, a container or a Docker configuration. Masking is no
guarantee: a secret that matches no rule stays visible.
"""

from __future__ import annotations

import base64
from typing import Any
from unicodedata import normalize

from docker_lxc_gate import foreign, patterns
from docker_lxc_gate.printable import cut, one_line

STARS = "***"
#: A secret that is cut off looks like none, so this much more is masked than is shown (characters).
_MARGIN = 8192
#: Maps full-width and mathematical letters, and blanks of all kinds, to ASCII, for matching.
#: Invisible characters are dropped, because with them a name looks like another one.
_PLAIN: dict[int, str | None] = {
    code: plain
    for code in (0xB, *range(0x80, 0x3001), *range(0xFF01, 0xFF5F), *range(0x1D400, 0x1D800))
    if (plain := " " if chr(code).isspace() else normalize("NFKC", chr(code))).isascii()
    and len(plain) == 1
} | dict.fromkeys((0xAD, *range(0x200B, 0x200E), 0x2060, 0xFEFF))
#: What may follow within a name.
_MORE = r"(?:[\w.-]|[^\x00-\x7F])*"
#: Names of secret values, as in ``PGPASSWORD`` or ``clientSecret``.
_WORDS = (
    "passw(?:[oö]r)?[dt]|passphrase|passwrd|pwd|secret|token|credentials?|psk|cookie"
    "|(?:api|access|account|private|pre[_.-]?shared|encryption|signing|auth|license|master)"
    "[_.-]?key|kennwort|mot[_-]?de[_-]?passe|contrase[ñn]a|senha|wachtwoord|has[łl]o|пароль"
    "|密[码碼]|パスワード|비밀번호"
)
_NAME = (
    rf"(?:(?:{_WORDS}){_MORE}|(?:\b|[_0-9])(?:db|smtp|ftp|root|user|mail|ldap|bind|redis|rabbitmq"
    rf"|mysql)?[_.-]?(?:pass|pw)(?:[0-9_.-]{_MORE})?)"
)
#: Prefixes of the tokens of well-known services.
_PREFIXES = (
    r"\b(?:gh[pousr]_|github_pat_|glpat-|gl[a-z]{2,5}-|dckr_(?:pat|oat)_|npm_|pypi-|hv[sb]\.|tskey-"
    r"|xox[abeoprs]-|xapp-|[sr]k_(?:live|test)_|whsec_|sk-(?:ant-|proj-)?|SG\.|do[opr]_v1_"
    r"|shp(?:at|ss)_|AGE-SECRET-KEY-|AIza|ya29\.|EAAC)"
)
#: JSON within an argv within JSON has a backslash before each quote.
_QUOTE = r"\\{0,3}[\"']"
_KEY = r"[A-Z0-9 ]*PRIVATE KEY[A-Z ]*"
_OPTION = (
    r"--?(?:[a-z]+-)*(?:password|passwd|passphrase|pass|pw|token|secret|psk"
    r"|(?:api|access|auth|encryption|signing|private|secret|account)-key)[\w-]*"
)
_LOGIN = (
    r"\b(?:sshpass|mysql\w*|mariadb\w*|(?:docker|podman|skopeo|buildah|oras|helm)\s+\w*\s*login)\b"
)
_SMB = r"\b(?-i:smb\w+|rpcclient|net)\b[^\n|;]*?\s(?-i:-U|--user(?:name)?)[= ]?"
#: What stands between a name and its value; the value may begin in one of the next lines.
_IS = rf"{_QUOTE}?\s*(?:[+?:]?=|=>|:)[ \t]*(?:\\?\r?\n[ \t]*){{0,3}}"
#: One character within quotes of either kind, or a quote as shells, SQL and YAML escape it.
_DOUBLE = r"(?:[^\"\\\n]|\\.|\"\")"
_SINGLE = r"(?:[^'\\\n]|\\.|'(?:\\'|\"'\")?')"
#: A quoted text of several lines. If it is not closed, only its first line counts (_QUOTED).
_LINES = "|".join(
    rf"{quote}([^\s\\{quote}]{one}*(?:\\?\n{one}*){{1,32}}){quote}"
    for quote, one in (('"', _DOUBLE), ("'", _SINGLE))
)
#: One character of a bare value in a list with commas.
_BARE = r"[^\s\"'\\,;&|<>{}\[\]()=]"
#: What is in quotes: of two kinds, and with backslashes before them.
_QUOTED = (
    rf"{_LINES}|\"({_DOUBLE}+)|'({_SINGLE}+)"
    r"|\\\"((?:[^\"\\\n]|\\\\(?:\\\"|.)|\\[^\"\\\n])+)|\\+[\"']([^\"'\\\n]+)"
)
#: A backslash and what it escapes, outside quotes.
_ESCAPED = r"\\(?:[^\w\s\"'\\]|[ \t]|\r?\n[ \t]*|u[0-9a-f]{4})"
#: A word of a shell's command line.
_WORD = r"([^\s\"'\\-](?:[^\s\"'\\]|\\[^\"\n])*)"
_VALUE = rf"(?:{_QUOTED}|(-?[^\s\"'\\,;&|<>{{}}\[\]()-](?:[^\s\"'\\,;&|<>{{}}\[\]()]|{_ESCAPED})*))"
#: A member that names a secret, and the one with its value.
_MEMBER = "(?:name|key)"
_NAMED = rf"{_QUOTE}{_MEMBER}{_QUOTE}\s*:\s*{_QUOTE}[^\"'\n]*{_NAME}{_QUOTE}"
_OF_VALUE = rf"{_QUOTE}value{_QUOTE}\s*:\s*(?:{_QUOTED})"
_REST = rf"(?:{_QUOTED}|([^\s\"'][^\n]*))"
#: A name of several parts, such as ``DB_PASSWORD``. A sentence has no such words.
_PARTS = rf"(?:\w*_(?:{_WORDS}|pass|pw)\w*|(?:{_WORDS})_\w+|(?-i:[a-z]+[Pp]ass[Ww]ord))"
#: The name of a variable of the environment.
_UPPER = rf"(?:[A-Z0-9_]*(?:{_WORDS.upper()})|(?:[A-Z0-9]+_)?PASS)[A-Z0-9_]*"
#: A name in YAML whose value may be several words. Prompts begin with a capital letter.
_PHRASE = (
    rf"(?-i:{_UPPER}|(?:[a-z_][\w.-]*)?(?:password|passphrase|passwort|secret)"
    r"|[a-z_][\w.-]*(?:Password|Passphrase|Secret)|(?:[a-z_][\w.-]*[_.-])?(?:pass|psk))"
)
#: An error after a name, such as Proxmox's "password: value must be at least 5 characters long".
_ERROR = r"(?:[^\n]*\s)?(?:cannot|denied|fail(?:ed|ure)|invalid|may only|must|not|required)\b[^\n]*"
#: Several words up to a comment, as an unquoted value in YAML.
_VALUES = r"([^\s\"'#|>&*!{\[-]\S*(?:[ \t]+(?:[^\s#]\S*|#\S+))+)"
#: A secret is the group of its rule that is there; of a rule without groups, all of the match.
_RULES = (
    # A key block, even if it is cut off.
    rf"(?s)-----BEGIN {_KEY}-----(.*?)(?:-----END {_KEY}|\z)",
    # Headers.
    r"\b(?:proxy-)?authorization\\?[\"']?\s*[:=]\s*\\?[\"']?([^\"'\\\r\n]+)",
    r"\b(?:set-)?cookie:[ \t]*([^\"'\r\n]+)",
    r"\bbearer\s+([\w.~+/=-]{6,})",
    r"\bbasic\s+([\w+/]{8,}=+|[A-Za-z+/_]{0,7}[0-9][\w+/]{7,}|[A-Za-z+/_]{7,}[0-9][\w+/]*)",
    r"PVE(?:API|BS)Token=([^\s\"']+)",
    # Docker's config.json.
    rf"{_QUOTE}(?:auth|identitytoken|registrytoken){_QUOTE}\s*:\s*{_QUOTE}([^\"'\\]+)",
    # A name and its value as members of their own; a line of the environment; an argument.
    rf"{_NAMED}\s*,\s*{_OF_VALUE}",
    rf"{_OF_VALUE}{_QUOTE}\s*,\s*{_NAMED}",
    rf"\b{_MEMBER}\s*[:=]\s*[\"']?[^\s\"']*{_NAME}[\"']?[,\s]\s*value\s*[:=][ \t]*{_REST}",
    rf"(?m)^(?-i:(?:[ \t]*- [\"']?|export )?{_UPPER})=(?:{_LINES}|(\S(?:\\\r?\n|[^\n])*))",
    rf"\blxc\.environment(?:\.\w+)?[ \t]*[:=][ \t]*[\w.-]*{_NAME}=([^\n]+)",
    rf"\"[\w.-]*{_NAME}=((?:[^\"\\\n]|\\.)+)",
    rf"\b(?-i:ENV|ARG)\s+[\w.-]*{_NAME}[ \t]+(\S[^\n]*)",
    rf"{_QUOTE}{_OPTION}{_QUOTE}\s*,\s*(?:{_QUOTED})",
    # A name and its value: a list, an XML element, in one line, in a column.
    rf"{_NAME}{_IS}\[([^\]]+)",
    rf"{_NAME}{_IS}\{{\s*{_QUOTE}?value{_IS}{_VALUE}",
    rf"<[\w.:-]*?{_NAME}(?:\s[^<>]*)?>([^<]+)",
    rf"{_NAME}{_QUOTE}?(?:[+?:]?=|:[ \t]*)(--[^\s\"'\\,;&|<>{{}}\[\]()]+)",
    rf"(?m)^[ \t]*(?:- )?{_PHRASE}:[ \t]+(?:{_ERROR}|{_VALUES})",
    rf"{_NAME}{_QUOTE}?=({_BARE}+(?:,{_BARE}+)+)(?:[,\s]|\z)",
    rf"{_NAME}{_IS}{_VALUE}",
    rf"(?m)^[\w.-]*{_NAME}\t+([^\s]+)",
    # A name of several parts, blanks, and a value that ends the line, or has letters and digits.
    rf"(?m)^[ \t]*(?:(?:export|set|setenv)[ \t]+)?{_PARTS}[ \t]+([^\s=:\"'()]\S*)[ \t]*\r?$",
    rf"\b{_PARTS}[ \t]+(?:{_QUOTED}|([a-z]\S*[0-9]\S*|[0-9]\S*[a-z]\S*))",
    # Options, in general and of single programs.
    r"--pass\w+-stdin\b[^\n|;]*<<<\s*[\"']?([^\s\"'$][^\s\"']*)",
    rf"(?:^|\s){_OPTION}[ =\t](?:[ \t]|\\?\n)*(?:{_QUOTED}|[\"']?{_WORD})",
    rf"{_LOGIN}[^\n|;&]*?\s-p\s*([^\s\"']+)",
    r"\bcurl\b[^\n|;]*?\s(?:-u|--user|-U|--proxy-user)\s*[\"']?[^\s:\"']*:([^\s\"']+)",
    rf"\b(?-i:redis-cli\b[^\n|;]*?\s-a|ldap[a-z]+\b[^\n|;]*?\s-w)\s*(?:{_QUOTED}|(\S+))",
    rf"{_SMB}(?:[\"'][^\"'%\n]*%([^\"'\n]+)|[^\s\"'%]*%([^\s\"']+))",
    r"\bchpasswd\b[^\n|;]*<<(?:<\s*[\"']?|[^\n<]*\n)[^\s:\"']+:([^\s\"'$][^\n\"']*)",
    r"\b(?:echo|printf)\s[^\n|;:$]*:([^\s\"'$|][^\n|]*?)[\"']?\s*\|[^\n|;]*\bchpasswd\b",
    r"\b(?:echo|printf)\s+(?:-\w+\s+)*[\"']?([^\s\"'$|][^\n|]*?)[\"']?\s*\|[^\n|;]*\s--pass\w+-stdin",
    r"\b(?:login\s+\S+\s+password|requirepass|masterauth|rootpw|bindpw|ldap_default_authtok)\s+(\S+)",
    # Addresses: a password after a name, or a token alone. ssh's own have a user alone.
    r"://[^/\s:@\"']*:([^/\s\"']+)@",
    r"://[^/\s:@\"'\[]*:([0-9]*[^0-9/\s\"'$<{][^/\s\"']*/[^\s\"']*)@",
    r"\bhttps?://([^/\s:@\"']+)@",
    r"[?&](?:sig|signature|key|code|password|access_token|X-Amz-Signature)=([^&\s\"']+)",
    # By form alone.
    r"\$(?:1|2[abxy]?|5|6|7|y|gy|apr1|sha1|md5|scrypt|argon2\w{1,3})\$[^\s:\"']{8,}",
    r"\b(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)([A-Z0-9]{12,})\b",
    rf"{_PREFIXES}[\w.=-]{{16,}}",
    r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?",  # a JSON Web Token
    r"\b[0-9]{8,10}:AA[\w-]{33}\b",  # a bot of Telegram's
)
_COMPILED = tuple(patterns.compile(f"(?i){rule}") for rule in _RULES)
#: A line of YAML after which there is a block or a list of secrets.
_OPENS = patterns.compile(
    rf"(?i)^[ \t-]*[\"']?[^\s\"':]*{_NAME}[\"']?[ \t]*:[ \t]*(?:([|>])[+-]?[0-9]?[+-]?)?[ \t]*\r?$"
)
#: What stands in a secret's place and is none: nothing, and words of sudoers.
_HARMLESS = ("", "NOPASSWD", "NOPASSWD:ALL")


@foreign.parser()
def mask(text: str) -> str:
    """Return a text of any length with its secrets replaced by stars: for people, not programs."""
    plain = text.translate(_PLAIN)
    masked = _without_blocks(plain)
    for pattern in _COMPILED:
        masked = pattern.sub(_starred, masked)
    return text if masked == plain else masked


def shown(text: str, most: int = 500) -> str:
    """Return the beginning of any text in one line, masked and escaped; the rest is not masked."""
    read = most + _MARGIN
    return cut(one_line(mask(text[:read])), most, beyond=max(0, len(text) - read))


def mask_end(text: str, most: int) -> str:
    """Return the end of any text, masked; the rest is not masked."""
    return mask(text[-most - _MARGIN :])[-most:]


def _starred(found: patterns.Match[str]) -> str:
    groups = [found.span(number) for number in range(1, len(found.groups()) + 1)] or [found.span()]
    start, end = next((span for span in groups if span[0] >= 0), (0, 0))
    if found.string[start:end].rstrip(":,.") in _HARMLESS:
        return str(found[0])
    return f"{found.string[found.start() : start]}{STARS}{found.string[end : found.end()]}"


def _without_blocks(text: str) -> str:
    """Star each line of the blocks and lists that YAML has below a name of a secret."""
    if "\n" not in text:
        return text
    lines = text.split("\n")
    depth, block = -1, False
    for number, line in enumerate(lines):
        bare = line.lstrip(" \t")
        at = len(line) - len(bare)
        if depth >= 0 and bare:
            listed = not block and at >= depth and bare.startswith("- ") and ": " not in bare
            if listed or (block and at > depth):
                lines[number] = line[:at] + "- " * listed + STARS
                continue
            depth = -1
        if line.endswith((":", "|", ">", "-", "+", "\r", " ")) and (found := _OPENS.search(line)):
            depth, block = at, found[1] is not None
    return "\n".join(lines)


def masked(value: Any) -> Any:
    """Return a line of the journal, as values of JSON, with every text and content masked."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [masked(each) for each in value]
    if isinstance(value, dict):
        return {key: _masked_member(key, each) for key, each in value.items()}
    return value


def _masked_member(key: str, value: Any) -> Any:
    """Mask one member; the key ``base64`` holds a content that is not UTF-8."""
    if key != "base64" or not isinstance(value, str):
        return masked(value)
    plain = base64.b64decode(value).decode(errors="surrogateescape")
    return base64.b64encode(mask(plain).encode(errors="surrogateescape")).decode()
