#!/usr/bin/env bash
# Fine-tunes the four bases on the built-in dataset, 4 seeds each: vanilla, no_data
# (online data only) and samg (the same, guided), all from one offline checkpoint per
# base, which is launch/offline.sh's. Prints offline score, final score and dip as one
# table; runs that are complete are not repeated.
#   bash launch/finetune.sh [BASE ...]    by default awac iql cql cal_ql
#   RUNS=folder bash launch/finetune.sh   where they go, instead of runs/reduced
# launch/results/finetune.md is the table as measured.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/reduced.sh
runs="${RUNS:-runs/reduced}"
bases=("$@")
[ $# -gt 0 ] || bases=(awac iql cql cal_ql)

bash launch/offline.sh "${bases[@]}"

workdirs=()
for base in "${bases[@]}"; do
  settings_of "$base"
  for variant in vanilla no_data samg; do
    config="configs/${base}_samg.py" flags=("${reduced_guidance[@]}")
    case "$variant" in
      vanilla) config="configs/$base.py" flags=() ;;
      no_data) flags+=(--config.guidance.weight=none) ;;
    esac
    workdirs+=("$runs/$base/$variant")
    .venv/bin/python -m samg_jax.train --config="$config:hopper-demo" \
      "${reduced[@]}" "${flags[@]}" --config.offline.restore="$runs/offline/$base" \
      --workdir="$runs/$base/$variant"
  done
done
.venv/bin/python -m samg_jax.report "${workdirs[@]}" \
  --title="Fine-tuning from one checkpoint per base, reduced length" \
  --command="bash launch/finetune.sh${*:+ $*}" --overwrite --out="$runs/table.md"
