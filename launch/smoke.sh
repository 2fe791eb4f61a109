#!/usr/bin/env bash
# Everything a suite does, in minutes on two cores: installs what its table and page need,
# runs the suite `smoke` into runs/smoke, and makes report/index.html. It shows nothing but
# that everything works; interrupted, it goes on where it was.
#   bash launch/smoke.sh [FLAG ...]     flags of `samg_jax.suite`
set -euo pipefail
cd "$(dirname "$0")/.."
bash launch/install.sh suite,report
.venv/bin/python -m samg_jax.suite --suite=smoke --out=runs/smoke "$@"
.venv/bin/python -m samg_jax.report runs/smoke --out=report
