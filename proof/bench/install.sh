# Installs what the plan is compared with, into a virtual environment of its own. Without hashes: they
# would need a lock of 34 packages with the wheels of each platform, 874 lines.
set -e
python -m venv "$1"
"$1/bin/python" -m pip install --quiet --only-binary :all: \
    pyinfra==3.10.0 pytest-testinfra==10.2.2 paramiko==4.0.0
