#!/bin/bash
set -e

CTID="$1"
if true; then
    echo "$CTID"
fi
