#!/usr/bin/env bash
# How sensitive SAMG is to the threshold: the paper's 0, 0.3, 0.5 and 0.75, 4 seeds each,
# in one process, forked from one offline checkpoint. Prints offline score, final score
# and dip as one table; complete runs are not repeated.
#   bash launch/threshold_sensitivity.sh [DATASET [BASE [FLAG ...]]]
# What these are and default to, and how a file of your own is taken, launch/pretrain.sh
# says. Without arguments it took 16 minutes on two cores, pre-training (7 more) not
# included, with LENGTH=full it takes days.
# Result folder: runs/studies/BASE/DATASET, with every run's workdir and thresholds.md;
# for a file of your own DATASET is its name without the ending.
set -euo pipefail
cd "$(dirname "$0")/.."
studied=(config.guidance.threshold)
source launch/pretrain.sh

guided thresholds --sweep=guidance.threshold=0,0.3,0.5,0.75
.venv/bin/python -m samg_jax.report "${workdirs[@]}" \
  --title="Threshold: $base on $name, ${LENGTH:-reduced} length" \
  --command="bash launch/threshold_sensitivity.sh${*:+ $*}" --overwrite --out="$runs/thresholds.md"
