#!/usr/bin/env bash
# Does the preset of the weight change the fine-tuning? Pre-trains AWAC on hopper-demo with
# 4 seeds and the settings of launch/quickstart.sh, and forks with each preset.
#   bash launch/presets.sh [FLAG ...]     flags of samg_jax.train
set -euo pipefail
cd "$(dirname "$0")/.."
bash launch/install.sh
pretrained=runs/presets/pretrained

train() {
  .venv/bin/python -m samg_jax.train --config=configs/awac_samg.py:hopper-demo \
    --config.num_seeds=4 \
    --config.dataset.reward_transform=affine \
    --config.dataset.reward_scale=0.1 \
    --config.agent.hidden_dims='(128, 128)' \
    --config.agent.tau=0.02 \
    --config.agent.inverse_temperature_online=10.0 \
    --config.offline.updates=20000 \
    --config.guidance.cvae.hidden_dim=128 \
    --config.guidance.cvae.steps=5000 \
    --config.guidance.cvae.kl_warmup_start=500 \
    --config.guidance.cvae.kl_warmup_steps=1000 \
    "$@"
}

train --workdir="$pretrained" --config.online.steps=0 "$@"
for preset in paper best; do
  train --workdir="runs/presets/$preset" \
    --config.offline.restore="$pretrained" \
    --config.guidance.weight_preset="$preset" \
    --config.online.steps=10000 \
    --config.online.eval_every=2500 \
    --config.online.checkpoint_every=10000 \
    "$@"
done
