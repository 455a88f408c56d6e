#!/usr/bin/env bash
# Installs docker-lxc-gate on this machine: a virtual environment below /opt with packages that are
# pinned by hash, and one link. It takes a checkout, or a folder with a wheel and its constraints.txt.
# With RELEASE=https://… it fetches these two and SHA256SUMS. --uninstall leaves only the journal.
set -euo pipefail
place=/opt/docker-lxc-gate link=/usr/local/bin/docker-lxc-gate
PYTHON=${PYTHON:-python3}
fail() { printf 'error: %s\n' "$1" >&2; exit "${2:-3}"; }

((EUID == 0)) || fail "it writes to $place: run it as root" 2
case ${1-} in
    --uninstall)
        rm -rf "$place" "$link"
        [[ ! -e /var/lib/docker-lxc-gate ]] || echo "what rollback needs stays: /var/lib/docker-lxc-gate"
        exit ;;
    ?*) fail "usage: [RELEASE=https://…] install.sh [--uninstall]" 2 ;;
esac
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$PYTHON is older than 3.11; name another one: PYTHON=… install.sh"
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || fail "first: apt-get install python3-venv"

work=$(mktemp -d) failed=
ended() {  # a failed installation leaves what was there before
    if [[ -n $failed ]]; then rm -rf "$place"; mv "$place.before" "$place" 2>/dev/null || true; fi
    rm -rf "$work" "$place.before"
}
trap ended EXIT
from=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ -n ${RELEASE-} ]]; then
    from=$work
    (cd "$work" && curl -fsSLO "$RELEASE/SHA256SUMS" && while read -r _ name; do
        curl -fsSLO "$RELEASE/${name#\*}"
    done <SHA256SUMS && sha256sum --check --quiet SHA256SUMS) || fail "no release at $RELEASE"
fi
[[ ! -d $place ]] || mv -T "$place" "$place.before"
failed=yes
"$PYTHON" -m venv "$place"
pins=(-r "$from/constraints.txt")
if wheel=$(compgen -G "$from/docker_lxc_gate-*.whl"); then
    echo "$wheel --hash=sha256:$(sha256sum "$wheel" | cut -d ' ' -f 1)" >"$work/own.txt"
    pins+=(-r "$work/own.txt")
fi
"$place/bin/python" -m pip install --quiet --no-cache-dir --disable-pip-version-check \
    --only-binary :all: --require-hashes "${pins[@]}" || fail "pip could not install the packages"
if [[ -z $wheel ]]; then  # the layout of a wheel
    packages=$("$place/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    cp -R "$from/docker_lxc_gate" "$packages"
    mkdir "$packages/docker_lxc_gate/checkout"
    cp -R "$from"/{allurerc.mjs,conftest.py,features,pyproject.toml,remediation,steps} \
        "$packages/docker_lxc_gate/checkout"
    (cd "$from" && "$place/bin/python" -Bc 'from docker_lxc_gate import home; print(home.commit(), end="")') \
        >"$packages/docker_lxc_gate/checkout/commit"
    install -m 755 /dev/stdin "$place/bin/docker-lxc-gate" <<END
#!$place/bin/python
from docker_lxc_gate.__main__ import main; main()
END
fi
version=$("$place/bin/docker-lxc-gate" --version) && failed=
ln -sfn "$place/bin/docker-lxc-gate" "$link"
echo "installed: $version; next: docker-lxc-gate doctor local/all"
