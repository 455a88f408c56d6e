#!/usr/bin/python3 -IS
"""``/usr/share/lxc/hooks/lxc-pve-poststop-hook``, as LXC runs it."""

import sys

sys.path.insert(0, "/usr/local/lib/pct-front")

from pct.poststop import main

sys.exit(main(sys.argv))
