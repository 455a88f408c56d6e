#!/usr/bin/python3 -IS
"""``/usr/sbin/pct``. Not a shell script: the shell would export PWD, which exec passes on."""

import sys

sys.path.insert(0, "/usr/local/lib/pct-front")

from pct.__main__ import main

sys.exit(main(sys.argv))
