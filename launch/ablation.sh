#!/usr/bin/env bash
# The ablation of the paper: vanilla, no_data (p = 0), samg, samg_even (p = 0.5),
# samg_random and samg_embedding, 4 seeds each, forked from one offline checkpoint.
# Prints offline score, final score and dip as one table; complete runs are not repeated.
#   bash launch/ablation.sh [DATASET [BASE [FLAG ...]]]
# What these are and default to, and how a file of your own is taken, launch/pretrain.sh
# says. Without arguments it took 22 minutes on two cores, with LENGTH=full it takes days.
# Result folder: runs/studies/BASE/DATASET, with every run's workdir and ablation.md;
# for a file of your own DATASET is its name without the ending.
set -euo pipefail
cd "$(dirname "$0")/.."
studied=(config.guidance.weight)
source launch/pretrain.sh

vanilla vanilla
for weight in none cvae even random embedding; do
  guided "$weight" --config.guidance.weight="$weight"
done
.venv/bin/python -m samg_jax.report "${workdirs[@]}" \
  --title="Ablation of the weight: $base on $name, ${LENGTH:-reduced} length" \
  --command="bash launch/ablation.sh${*:+ $*}" --overwrite --out="$runs/ablation.md"
