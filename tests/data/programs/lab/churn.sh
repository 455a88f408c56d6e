
inside docker run -d --restart always -p 8080:80 hello-world >/dev/null
unit churn.service <<'END'
[Service]
ExecStart=/bin/sh -c 'while :; do systemd-run -q --wait true; networkctl renew eth0; \
systemctl start systemd-tmpfiles-clean; sleep 5; done'
[Install]
WantedBy=multi-user.target
END
inside systemctl enable -q churn
systemd-run -q --unit=churn sh -c 'while :; do systemd-run -q --wait true; sleep 5; done'
