#!/usr/bin/env bash
# Pre-trains the offline algorithms on the built-in dataset, 4 seeds each, and prints
# their scores as one table; runs that are complete are not repeated.
#   bash launch/offline.sh [ALGORITHM ...]  by default all seven
#   RUNS=folder bash launch/offline.sh      where they go, instead of runs/reduced
set -euo pipefail
cd "$(dirname "$0")/.."
bash launch/install.sh
source launch/reduced.sh
runs="${RUNS:-runs/reduced}/offline"
algorithms=("$@")
[ $# -gt 0 ] || algorithms=(bc td3_bc awac iql spot cql cal_ql)

for algorithm in "${algorithms[@]}"; do
  settings_of "$algorithm"
  .venv/bin/python -m samg_jax.train --config="configs/$algorithm.py:hopper-demo" \
    "${reduced[@]}" --config.online.steps=0 --workdir="$runs/$algorithm"
done
.venv/bin/python -m samg_jax.report "${algorithms[@]/#/$runs/}" \
  --title="Offline algorithms, reduced length" \
  --command="bash launch/offline.sh $*" --out="$runs/table.md"
