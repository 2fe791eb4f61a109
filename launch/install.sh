#!/usr/bin/env bash
# Creates .venv and installs the package into it, with the tested versions.
#   bash launch/install.sh [EXTRA,...]     extras of setup.py: cuda, d4rl, docs, minari, ray,
#                                          report, slurm, suite, test, torch, video, wandb
# The extra `cuda` is added by itself where an NVIDIA driver is found.
set -euo pipefail
cd "$(dirname "$0")/.."

extras="${1:-}"
if [ -e /proc/driver/nvidia/version ] || command -v nvidia-smi >/dev/null 2>&1; then
  extras="${extras:+$extras,}cuda"
fi

if [ ! -x .venv/bin/python ]; then
  python="${PYTHON:-python3}"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: $("$python" --version) is too old; Python 3.11 or later is needed." \
      "Name one: PYTHON=/path/to/python3.11 bash $0" >&2
    exit 1
  }
  "$python" -m venv .venv
fi

# pip refuses extras in a file of constraints.
sed 's/\[[^]]*\]//' requirements.txt >.venv/constraints.txt
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
  --constraint .venv/constraints.txt --editable ".${extras:+[$extras]}"
