#!/bin/bash
set -e
"$(dirname "$0")/feature.sh" "$1"
