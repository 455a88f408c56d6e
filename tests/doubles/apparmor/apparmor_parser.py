"""AppArmor's own parser, as it compiles for a kernel with all that abi 4.0 knows."""

import shutil
import subprocess

_PARSER = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin:/bin")
_FEATURES = "/etc/apparmor.d/abi/4.0"


def parse_profile(text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Return how the parser ended over a profile; nothing is loaded."""
    assert _PARSER, "apparmor_parser is missing: apt-get install apparmor"
    argv = [_PARSER, "--skip-kernel-load", "--skip-cache", "--features-file", _FEATURES, *options]
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=False)


def compiled(text: str) -> bytes:
    """Return the policy that a profile compiles to."""
    assert _PARSER, "apparmor_parser is missing: apt-get install apparmor"
    argv = [_PARSER, "--skip-kernel-load", "--skip-cache", "--features-file", _FEATURES, "--stdout"]
    return subprocess.run(argv, input=text.encode(), capture_output=True, check=True).stdout
