#!/bin/bash
set -euo pipefail

CTID="$1"
if grep -q "^$CTID" <<<"$(pct list)"; then
    echo there
fi
