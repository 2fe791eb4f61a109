#!/usr/bin/env bash
# Creates .venv and installs the package into it, with the tested versions.
#   bash launch/install.sh [EXTRA,...]     extras of setup.py: cuda, cuda13, d4rl, docs,
#                                          lint, live, minari, ray, report, slurm,
#                                          suite, test, torch, video, wandb
#   PYTHON=/path/to/python bash launch/install.sh    with this Python, 3.11 or later
#   VENV=folder bash launch/install.sh               into this folder instead of .venv
# If an NVIDIA driver is found, `cuda13` or `cuda` is added, as the driver allows.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/cuda.sh
venv="${VENV:-.venv}"

extras="${1:-}"
if [[ ",$extras," != *,cuda,* && ",$extras," != *,cuda13,* ]]; then
  cuda="$(cuda_extra)"
  # JAX refuses to start with the libraries of both; those of CUDA 12 run on any driver.
  if [ -n "$cuda" ] && compgen -G "$venv/lib/python*/site-packages/jax_cuda12_plugin" >/dev/null; then
    cuda=cuda
  fi
  extras="$extras${cuda:+${extras:+,}$cuda}"
fi

recent() { # Whether $1 is a Python that the package runs on.
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

if [ ! -x "$venv/bin/python" ]; then
  python="${PYTHON:-python3}"
  if [ -z "${PYTHON:-}" ] && ! recent "$python"; then
    for other in python3.13 python3.12 python3.11; do
      if recent "$other"; then
        python="$other"
        break
      fi
    done
  fi
  recent "$python" || {
    found="$("$python" --version 2>&1)" || found="$python, which does not start,"
    echo "error: $found cannot be used; Python 3.11 or later is needed." \
      "Set another one: PYTHON=/path/to/python3.11 bash $0" >&2
    exit 1
  }
  "$python" -m venv "$venv"
fi

# pip refuses extras in a file of constraints.
sed 's/\[[^]]*\]//' requirements.txt >"$venv/constraints.txt"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  --constraint "$venv/constraints.txt" --editable ".${extras:+[$extras]}"
