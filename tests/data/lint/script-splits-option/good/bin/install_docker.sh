#!/bin/bash
set -e

CTID="$1"
while IFS= read -r option; do
    echo "$option" >>"/etc/pve/lxc/$CTID.conf"
done < <(jq -r '.lxc_options[]' containers.json)
