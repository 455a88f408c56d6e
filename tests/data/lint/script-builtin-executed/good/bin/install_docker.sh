#!/bin/bash
set -e

CTID="$1"
pct exec "$CTID" -- sh -c 'command -v docker'
