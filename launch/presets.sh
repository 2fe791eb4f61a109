#!/usr/bin/env bash
# Does the preset of the weight change the fine-tuning? Pre-trains AWAC on hopper-demo with
# 8 seeds and nearly the settings of launch/quickstart.sh, forks with each preset, and
# makes launch/results/presets.{md,json}: scores, what `best` gains over `paper` paired by
# seed, and what the guidance was. Complete runs are not repeated. It took 16 minutes on
# two cores that also did other work.
#   bash launch/presets.sh [FLAG ...]     flags of samg_jax.train
#   RUNS=folder RESULTS=folder bash launch/presets.sh   instead of runs/presets and
#                                                       launch/results
set -euo pipefail
cd "$(dirname "$0")/.."
bash launch/install.sh
runs="${RUNS:-runs/presets}"
results="${RESULTS:-launch/results}"
mkdir -p "$results"

train() {
  .venv/bin/python -m samg_jax.train --config=configs/awac_samg.py:hopper-demo \
    --config.num_seeds=8 \
    --config.evaluation.episodes=20 \
    --config.dataset.reward_transform=affine \
    --config.dataset.reward_scale=0.1 \
    --config.agent.hidden_dims='(128, 128)' \
    --config.agent.tau=0.02 \
    --config.agent.inverse_temperature_online=10.0 \
    --config.offline.updates=20000 \
    --config.offline.eval_every=20000 \
    --config.guidance.cvae.hidden_dim=128 \
    --config.guidance.cvae.steps=5000 \
    --config.guidance.cvae.kl_warmup_start=500 \
    --config.guidance.cvae.kl_warmup_steps=1000 \
    --config.online.steps=10000 \
    --config.online.eval_every=2500 \
    --config.online.checkpoint_every=10000 \
    "$@"
}

train "$@" --config.online.steps=0 --workdir="$runs/pretrained"
for preset in paper best; do
  train "$@" --config.offline.restore="$runs/pretrained" \
    --config.guidance.weight_preset="$preset" --workdir="$runs/$preset"
done
.venv/bin/python -m samg_jax.report "$runs/paper" "$runs/best" --paired \
  --title="Does the preset of the weight change the fine-tuning?" \
  --command="bash launch/presets.sh${*:+ $*}" \
  --overwrite --out="$results/presets.md" --json="$results/presets.json"
