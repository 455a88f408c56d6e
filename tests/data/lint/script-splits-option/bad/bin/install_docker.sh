#!/bin/bash
set -e

CTID="$1"
for option in $(jq -r '.lxc_options[]' containers.json); do
    echo "$option" >>"/etc/pve/lxc/$CTID.conf"
done
