#!/bin/bash
set -euo pipefail

CTID="$1"
if pct list | grep -q "^$CTID"; then
    echo there
fi
