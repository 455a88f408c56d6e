
unit=systemd-networkd-wait-online.service
inside systemctl -q unmask $unit
inside mkdir -p /etc/systemd/system/$unit.d
printf '[Service]\nExecStart=\nExecStart=/usr/lib/systemd/systemd-networkd-wait-online %s\n'     '--interface=none0 --timeout=4' | into /etc/systemd/system/$unit.d/vain.conf
inside systemctl daemon-reload
inside systemctl -q enable $unit
inside systemctl start $unit || true
