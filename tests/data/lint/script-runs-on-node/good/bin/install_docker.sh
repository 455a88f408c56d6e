#!/bin/bash
set -e

CTID="$1"
pct exec "$CTID" -- apt-get update
pct exec "$CTID" -- apt-get install -y fuse-overlayfs
