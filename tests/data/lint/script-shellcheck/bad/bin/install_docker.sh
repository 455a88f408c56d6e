#!/bin/bash
set -e

CTID="$1"
args=("$@")
pct set "$CTID" ${args[@]}
