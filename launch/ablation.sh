#!/usr/bin/env bash
# The ablation of the paper: vanilla, no_data (p = 0), samg, samg_even (p = 0.5),
# samg_random and samg_embedding, 4 seeds each, forked from one offline checkpoint.
# Prints offline score, final score and dip as one table; complete runs are not repeated.
#   bash launch/ablation.sh [DATASET [BASE [FLAG ...]]]     see launch/pretrain.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/pretrain.sh

fork vanilla "$base"
for weight in none cvae even random embedding; do
  fork "$weight" "${base}_samg" "${guided[@]}" --config.guidance.weight="$weight"
done
.venv/bin/python -m samg_jax.report "${workdirs[@]}" \
  --title="Ablation of the weight: $base on $dataset, ${LENGTH:-reduced} length" \
  --command="bash launch/ablation.sh $*" --out="$runs/ablation.md"
