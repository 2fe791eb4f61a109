#!/usr/bin/env bash
# Does the weight p(s, a) tell familiar pairs from unfamiliar ones, and what does it cost?
# Makes launch/results/diagnosis_*.{md,json}: hopper-demo, and a half-cheetah dataset that
# is collected here. Small networks and short phases, for two cores; see the README for
# what to turn up.
#   bash launch/diagnose.sh [FLAG ...]     flags of samg_jax.diagnose
set -euo pipefail
cd "$(dirname "$0")/.."
bash launch/install.sh
python=.venv/bin/python
runs=runs/diagnosis
mkdir -p "$runs"

# Pre-trains on a dataset unless that was done; the flags are those of samg_jax.train.
pretrain() {
  "$python" -m samg_jax.train --config=configs/awac_samg.py:hopper-demo \
    --config.online.steps=0 \
    --config.guidance.cvae.hidden_dim=128 \
    --config.guidance.cvae.steps=5000 \
    --config.guidance.cvae.kl_warmup_start=500 \
    --config.guidance.cvae.kl_warmup_steps=1000 \
    "$@"
}

# The checkpoint's weight (the paper's), the best preset, and two steps in between; each
# under every kind of probability.
diagnose() {
  local name="$1"
  shift
  "$python" -m samg_jax.diagnose --checkpoint="$runs/$name" \
    --presets=best \
    --settings=smaller-beta:cvae.beta=0.02 \
    --settings=with-action:cvae.beta=0.2,cvae.reconstruct=next_state_action,cvae.scale_targets=True \
    "$@"
  cp "$runs/$name/diagnosis/diagnosis.md" "launch/results/diagnosis_$name.md"
  cp "$runs/$name/diagnosis/diagnosis.json" "launch/results/diagnosis_$name.json"
}

# As in launch/quickstart.sh, so that launch/presets.sh may fork from it.
pretrain --workdir="$runs/hopper-demo" \
  --config.num_seeds=4 \
  --config.dataset.reward_transform=affine \
  --config.dataset.reward_scale=0.1 \
  --config.agent.hidden_dims='(128, 128)' \
  --config.agent.tau=0.02 \
  --config.agent.inverse_temperature_online=10.0 \
  --config.offline.updates=20000
diagnose hopper-demo "$@"

if [ ! -f "$runs/halfcheetah-local.hdf5" ]; then
  "$python" -m samg_jax.collect --env=HalfCheetah-v4 --level=medium --steps=100000 \
    --medium_score=22 --train_steps=100000 --hidden_dims=128,128 \
    --out="$runs/halfcheetah-local.hdf5"
fi
pretrain --workdir="$runs/halfcheetah-local" \
  --config.num_seeds=2 \
  --config.dataset.path="$runs/halfcheetah-local.hdf5" \
  --config.env_id=HalfCheetah-v4 \
  --config.offline.updates=0
diagnose halfcheetah-local --nocosts "$@"
