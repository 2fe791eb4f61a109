#!/usr/bin/env bash
# Does the weight p(s, a) tell familiar pairs from unfamiliar ones?
# Makes launch/results/diagnosis_*.{md,json}: hopper-demo, and a half-cheetah dataset
# that is collected here. Small C-VAEs, briefly trained, for two cores; with
# LENGTH=full only the paper's construction, of its published size, annealing and 100,000
# updates, one seed, into launch/results/diagnosis_*_full.{md,json}.
#   bash launch/diagnose.sh [FLAG ...]     flags of samg_jax.diagnose
set -euo pipefail
cd "$(dirname "$0")/.."
bash launch/install.sh
python=.venv/bin/python
runs=runs/diagnosis
mkdir -p "$runs" launch/results

# A checkpoint with the paper's weight alone; the flags are those of samg_jax.train.
size=(
  --config.num_seeds=2
  --config.guidance.cvae.hidden_dim=128
  --config.guidance.cvae.steps=5000
  --config.guidance.cvae.kl_warmup_start=500
  --config.guidance.cvae.kl_warmup_steps=1000
)
[ "${LENGTH:-reduced}" != full ] || size=(--config.num_seeds=1)
fit() {
  "$python" -m samg_jax.train --config=configs/awac_samg.py:hopper-demo \
    --config.offline.updates=0 --config.online.steps=0 "${size[@]}" "$@"
}

# That weight, the best preset, and two steps in between, under every kind of probability.
diagnose() {
  local run="$1" name="$2"
  shift 2
  "$python" -m samg_jax.diagnose --checkpoint="$runs/$run" \
    --presets=best \
    --settings=smaller-beta:cvae.beta=0.02 \
    --settings=with-action:cvae.beta=0.2,cvae.reconstruct=next_state_action,cvae.scale_targets=True \
    --settings=siamese:weight=embedding,embedding.steps=5000 \
    "$@"
  keep "$runs/$run/diagnosis" "diagnosis_$name"
}

# What stays within the paper's formulas and might help its weight.
remedies() {
  local run="$1" name="$2"
  shift 2
  "$python" -m samg_jax.diagnose --checkpoint="$runs/$run" \
    --out="runs/remedies/$run" --kinds=tail,window,joint \
    --settings=larger-beta:cvae.beta=8.0 \
    --settings=pair:cvae.decoder_input=latent_and_pair,cvae.beta=0.005 \
    --settings=wide:cvae.latent_size=24 \
    --settings=wide-std:cvae.latent_size=24,use_std=True \
    "$@"
  keep "runs/remedies/$run" "diagnosis_${name}_remedies"
}

# The best preset, with four times as many stored codes.
references() {
  local run="$1" name="$2"
  shift 2
  "$python" -m samg_jax.diagnose --checkpoint="$runs/$run" \
    --out="runs/references/$run" --kinds=nearest --presets=best \
    --settings=references:kind=nearest,references=32768,cvae.latent_size=24,cvae.beta=0.05,cvae.reconstruct=next_state_action,cvae.scale_targets=True,cvae.action_weight=9.0 \
    "$@"
  keep "runs/references/$run" "diagnosis_${name}_references"
}

keep() {
  cp "$1/diagnosis.md" "launch/results/$2.md"
  cp "$1/diagnosis.json" "launch/results/$2.json"
}

collect() {
  [ -f "$runs/halfcheetah-local.hdf5" ] ||
    "$python" -m samg_jax.collect --env=HalfCheetah-v4 --level=medium --steps=100000 \
      --medium_score=22 --train_steps=100000 --hidden_dims=128,128 \
      --out="$runs/halfcheetah-local.hdf5"
}
own=(
  --config.dataset.path="$runs/halfcheetah-local.hdf5"
  --config.env_id=HalfCheetah-v4
)

if [ "${LENGTH:-reduced}" = full ]; then
  full() {
    local name="$1"
    shift
    fit --workdir="$runs/full/$name" "$@"
    "$python" -m samg_jax.diagnose --checkpoint="$runs/full/$name" \
      "${flags[@]}"
    keep "$runs/full/$name/diagnosis" "diagnosis_${name}_full"
  }
  flags=("$@")
  full hopper-demo
  collect
  full halfcheetah-local "${own[@]}"
  exit
fi

fit --workdir="$runs/hopper-demo-weight"
diagnose hopper-demo-weight hopper-demo "$@"
remedies hopper-demo-weight hopper-demo "$@"
references hopper-demo-weight hopper-demo "$@"

collect
fit --workdir="$runs/halfcheetah-local" "${own[@]}"
diagnose halfcheetah-local halfcheetah-local "$@"
remedies halfcheetah-local halfcheetah-local "$@"
