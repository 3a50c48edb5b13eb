#!/bin/sh
# Makes .venv from a hashed lock file: with uv where it is there, else with pip alone.
# usage: infra/setup.sh LOCK [PYTHON]
set -eu
lock=$1
python=${2:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Error: Ignition needs Python 3.11 or newer, $python is older." >&2
    echo "Mend: make PYTHON=/path/to/python3.11 …" >&2
    exit 1
}
if command -v uv >/dev/null 2>&1; then
    [ -x .venv/bin/python ] || uv venv --quiet --python "$python" .venv
    uv pip install --quiet --python .venv/bin/python --require-hashes -r "$lock"
    install="uv pip install --quiet --python .venv/bin/python"
else
    [ -x .venv/bin/pip ] || "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
    install=".venv/bin/python -m pip install --quiet --disable-pip-version-check"
fi
# The build backend is in the lock, so nothing more is fetched.
$install --no-deps --no-build-isolation -e .
