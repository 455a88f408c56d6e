#!/bin/bash
set -e

CTID="$1"
pct exec "$CTID" -- command -v docker
