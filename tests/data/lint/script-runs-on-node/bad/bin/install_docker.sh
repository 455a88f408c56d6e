#!/bin/bash
set -e

CTID="$1"
pct exec "$CTID" -- apt-get update
apt-get install -y fuse-overlayfs
