#!/bin/bash
set -e
bash "$(dirname "$0")/feature.sh" "$1"
