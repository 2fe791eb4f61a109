#!/usr/bin/env bash
# Does the preset of the weight change the fine-tuning? Forks the hopper-demo checkpoint of
# launch/diagnose.sh with each preset: AWAC, 4 seeds, the settings of launch/quickstart.sh.
#   bash launch/presets.sh [FLAG ...]     flags of samg_jax.train
set -euo pipefail
cd "$(dirname "$0")/.."
source_run=runs/diagnosis/hopper-demo
if [ ! -d "$source_run/offline" ]; then
  bash launch/diagnose.sh
fi
for preset in paper best; do
  .venv/bin/python -m samg_jax.train --config=configs/awac_samg.py:hopper-demo \
    --workdir="runs/presets/$preset" \
    --config.offline.restore="$source_run" \
    --config.guidance.weight_preset="$preset" \
    --config.num_seeds=4 \
    --config.dataset.reward_transform=affine \
    --config.dataset.reward_scale=0.1 \
    --config.agent.hidden_dims='(128, 128)' \
    --config.agent.tau=0.02 \
    --config.agent.inverse_temperature_online=10.0 \
    --config.guidance.cvae.hidden_dim=128 \
    --config.guidance.cvae.steps=5000 \
    --config.guidance.cvae.kl_warmup_start=500 \
    --config.guidance.cvae.kl_warmup_steps=1000 \
    --config.online.steps=10000 \
    --config.online.eval_every=2500 \
    --config.online.checkpoint_every=10000 \
    "$@"
done
