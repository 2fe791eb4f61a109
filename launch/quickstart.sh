#!/usr/bin/env bash
# From a fresh checkout to a first result: installs into .venv, then pre-trains AWAC on
# the built-in dataset, fits the C-VAE and fine-tunes with SAMG, 4 seeds at once.
#
# Small networks and short phases, so that it ends within minutes on two cores. With so
# few updates the critic's targets must move faster (tau) and its values be smaller
# (reward scale) than in the published settings, which configs/ keep.
#   bash launch/quickstart.sh [FLAG ...]     flags of samg_jax.train
set -euo pipefail
cd "$(dirname "$0")/.."
bash launch/install.sh
exec .venv/bin/python -m samg_jax.train \
  --config=configs/awac_samg.py:hopper-demo \
  --workdir=runs/quickstart \
  --config.num_seeds=4 \
  --config.dataset.reward_transform=affine \
  --config.dataset.reward_scale=0.1 \
  --config.agent.hidden_dims='(128, 128)' \
  --config.agent.tau=0.02 \
  --config.agent.inverse_temperature_online=10.0 \
  --config.offline.updates=20000 \
  --config.guidance.cvae.hidden_dim=128 \
  --config.guidance.cvae.steps=3000 \
  --config.guidance.cvae.kl_warmup_start=500 \
  --config.guidance.cvae.kl_warmup_steps=1000 \
  --config.online.steps=15000 \
  --config.online.eval_every=3000 \
  --config.online.checkpoint_every=5000 \
  "$@"
