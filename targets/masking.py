"""Masking: secrets are replaced by stars, by their name or by their form.

All output of the program goes through :func:`mask`. The names and forms are the rules of gitleaks
and detect-secrets that fit a hypervisor, a container or a Docker configuration. Every pattern is
bounded, so untrusted text costs linear time. Masking is no guarantee: a secret that matches no rule
stays visible.
"""

from __future__ import annotations

import base64
import re
from typing import Any

STARS = "***"

#: Names of secret values, as in ``PGPASSWORD`` or ``clientSecret``.
_NAME = (
    r"(?:passw(?:or)?d|passphrase|passwrd|pwd|secret|token|credentials?"
    r"|api[_.-]?key|access[_.-]?key|account[_.-]?key|private[_.-]?key|pre[_.-]?shared[_.-]?key"
    r"|encryption[_.-]?key|signing[_.-]?key|auth[_.-]?key|license[_.-]?key|psk|cookie"
    r"|(?<![a-z])(?:db|smtp|ftp|root|user|mail|ldap|bind|redis|rabbitmq|mysql)?[_.-]?pass(?![a-z]))"
    r"[\w.-]{0,40}"
)
#: Prefixes of the tokens of well-known services.
_PREFIXES = (
    r"\b(?:gh[pousr]_|github_pat_|glpat-|gl[a-z]{2,5}-|dckr_(?:pat|oat)_|npm_|pypi-|hv[sb]\.|tskey-"
    r"|xox[abeoprs]-|xapp-|[sr]k_(?:live|test)_|whsec_|sk-(?:ant-|proj-)?|SG\.|do[opr]_v1_"
    r"|shp(?:at|ss)_|AGE-SECRET-KEY-|AIza|ya29\.|EAAC)"
)
#: JSON within an argv within JSON has a backslash before each quote.
_QUOTE = r"\\{0,3}[\"']"
_KEY = r"[A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,9}"
_BARE = r"[^\s\"'\\,;&|<>{}\[\]()]"
_OPTION = r"--?(?:password|passwd|passphrase|pass|token|secret|api-key|access-key|auth-key|psk)"
_LOGIN = (
    r"\b(?:sshpass|mysql\w*|mariadb\w*|(?:docker|podman|skopeo|buildah|oras|helm)\s+\w*\s*login)\b"
)
#: The first group, if there is one, stays in front of the stars.
_RULES = (
    # A key block, even if it is cut off.
    rf"(-----BEGIN {_KEY}-----)[\s\S]*?(?=-----END {_KEY}|\Z)",
    # Headers.
    r"(\b(?:proxy-)?authorization\\?[\"']?\s{0,8}[:=]\s{0,8}\\?[\"']?)[^\"'\\\r\n]+",
    r"(\b(?:set-)?cookie:\s{0,8})[^\"'\r\n]+",
    r"(\bbearer\s{1,8})[\w.~+/=-]{6,}",
    r"(\bbasic\s{1,8})(?=[\w+/]*[0-9=])[\w+/]{8,}={0,2}",
    r"(PVE(?:API|BS)Token=)[^\s\"']+",
    # Docker's config.json.
    rf"({_QUOTE}(?:auth|identitytoken|registrytoken){_QUOTE}\s{{0,8}}:\s{{0,8}}{_QUOTE})[^\"'\\]*",
    # A name and its value: quoted, an XML element, a block of YAML, bare.
    rf"({_NAME}{_QUOTE}?\s{{0,8}}(?:[:=]|=>|:=)\s{{0,8}}\\{{0,3}}([\"']))(?:(?!\\{{0,3}}\2)[^\n])+",
    rf"(<[\w.:-]{{0,40}}?{_NAME}(?:\s[^<>]{{0,200}})?>)[^<]+",
    rf"({_NAME}\s{{0,8}}:\s{{0,8}}[|>][+-]?\s*\n\s+)\S[^\n]*",
    rf"({_NAME}{_QUOTE}?\s{{0,8}}(?:[:=]|=>|:=)\s{{0,8}})(?!NOPASSWD\b){_BARE}+",
    # Options, in general and of single programs.
    rf"((?<!\S){_OPTION}(?:[\w-]{{0,20}})[ =]\s{{0,8}}([\"']))(?:(?!\2)[^\n])+",
    rf"((?<!\S){_OPTION}(?:[\w-]{{0,20}})[ =]\s{{0,8}}[\"']?)[^\s\"'-][^\s\"']*",
    rf"({_LOGIN}[^\n|;&]{{0,200}}?\s-p\s{{0,8}})[^\s\"']+",
    r"(\bcurl\b[^\n|;]{0,200}?\s(?:-u|--user|-U|--proxy-user)\s{0,8}[\"']?[^\s:\"']{0,100}:)[^\s\"']+",
    r"(\bredis-cli\b[^\n|;]{0,200}?\s-a\s{1,8})\S+",
    r"(\blogin\s{1,8}\S{1,100}\s{1,8}password\s{1,8})\S+",  # netrc
    r"(\b(?:requirepass|masterauth|rootpw|bindpw|ldap_default_authtok)\s{1,8})\S+",
    # Addresses: a password after a name, or a token alone. ssh's own have a user alone.
    r"(://[^/\s:@\"']{0,200}:)[^/\s\"']{1,400}(?=@)",
    r"(\bhttps?://)[^/\s:@\"']{1,400}(?=@)",
    r"([?&](?:sig|signature|key|code|password|access_token|X-Amz-Signature)=)[^&\s\"']+",
    # By form alone.
    r"\$(?:1|2[abxy]?|5|6|7|y|gy|apr1|sha1|md5|scrypt|argon2\w{1,3})\$[^\s:\"']{8,400}",
    r"(\b(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA))[A-Z0-9]{12,}\b",
    rf"{_PREFIXES}[\w.=-]{{16,}}",
    r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?",  # a JSON Web Token
    r"\b[0-9]{8,10}:AA[\w-]{33}\b",  # a bot of Telegram's
)
_COMPILED = tuple(
    (rule, rf"\1{STARS}" if rule.groups else STARS)
    for rule in (re.compile(pattern, re.IGNORECASE) for pattern in _RULES)
)


def mask(text: str) -> str:
    """Return text with its secrets replaced by stars.

    Args:
        text: of any length. The result is for people, not for programs.
    """
    for pattern, stars in _COMPILED:
        text = pattern.sub(stars, text)
    return text


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
