#!/usr/bin/env bash
# Pre-trains the offline algorithms on the built-in dataset, 4 seeds each, and prints
# their scores as one table; runs that are complete are not repeated.
#   bash launch/offline.sh [ALGORITHM ...]  by default all seven; then who ends below
#                                           BC by two standard errors is said as well
#   RUNS=folder bash launch/offline.sh      where they go, instead of runs/reduced
# launch/results/offline.md is the table as measured.
set -euo pipefail
cd "$(dirname "$0")/.."
bash launch/install.sh
source launch/reduced.sh
runs="${RUNS:-runs/reduced}/offline"
algorithms=("$@") about=()
if [ $# -eq 0 ]; then
  algorithms=(bc td3_bc awac iql spot cql cal_ql)
  about=(--baseline=bc --command="bash launch/offline.sh" --overwrite --out="$runs/table.md")
fi

for algorithm in "${algorithms[@]}"; do
  settings_of "$algorithm"
  .venv/bin/python -m samg_jax.train --config="configs/$algorithm.py:hopper-demo" \
    "${reduced[@]}" --config.online.steps=0 --workdir="$runs/$algorithm"
done
.venv/bin/python -m samg_jax.report "${algorithms[@]/#/$runs/}" \
  --title="Offline algorithms, reduced length" "${about[@]}"
