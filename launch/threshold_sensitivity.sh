#!/usr/bin/env bash
# How sensitive SAMG is to the threshold: the paper's 0, 0.3, 0.5 and 0.75, 4 seeds each,
# in one process, forked from one offline checkpoint. Prints offline score, final score
# and dip as one table; complete runs are not repeated.
#   bash launch/threshold_sensitivity.sh [DATASET [BASE [FLAG ...]]]
# What these are and default to, launch/pretrain.sh says.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/pretrain.sh

fork thresholds "${base}_samg" "${guided[@]}" --sweep=guidance.threshold=0,0.3,0.5,0.75
.venv/bin/python -m samg_jax.report "${workdirs[@]}" \
  --title="Threshold: $base on $dataset, ${LENGTH:-reduced} length" \
  --command="bash launch/threshold_sensitivity.sh $*" --out="$runs/thresholds.md"
