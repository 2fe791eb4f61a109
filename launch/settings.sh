#!/usr/bin/env bash
# Does any setting within the paper's formulas help its weight? On hopper-demo: latent
# size, beta, what the decoder sees and its layers, scaled targets, each with and without
# the stds; then half-widths of the window and pooled normals. AUROC of held-out pairs
# against the others, two seeds each. Makes launch/results/settings.{md,json}.
#   bash launch/settings.sh [FLAG ...]      flags of samg_jax.diagnose
#   STEPS=100 bash launch/settings.sh       updates of every C-VAE, instead of 5000
#   RUNS=folder RESULTS=folder bash launch/settings.sh   instead of runs/settings and
#                                                        launch/results
set -euo pipefail
cd "$(dirname "$0")/.."
bash launch/install.sh
runs="${RUNS:-runs/settings}"
results="${RESULTS:-launch/results}"
steps="${STEPS:-5000}"
mkdir -p "$results"

# The names are the rows of the table. Hopper's decoder has one hidden layer, as in the
# paper; what is not named is as in the paper.
settings=()
judge() {
  settings+=("--settings=$1:$2" "--settings=$1 with stds:$2,use_std=True")
}
judge "beta 0.5" cvae.beta=0.5
judge "beta 2" cvae.beta=2.0
judge "beta 8" cvae.beta=8.0
judge "beta 30" cvae.beta=30.0
judge "two hidden layers" cvae.decoder_layers=2
judge "targets scaled" cvae.scale_targets=True
judge "decoder sees the pair" cvae.decoder_input=latent_and_pair,cvae.beta=0.005
judge "1 latent" cvae.latent_size=1
judge "24 latents" cvae.latent_size=24
judge "24 latents beta 0.05" cvae.latent_size=24,cvae.beta=0.05
judge "64 latents beta 0.05" cvae.latent_size=64,cvae.beta=0.05
for delta in 0.5 2.0 4.0; do # The tables above have 1.
  settings+=("--settings=24 latents delta $delta:cvae.latent_size=24,kind=window,delta=$delta")
done
settings+=("--settings=24 latents pooled:cvae.latent_size=24,fit=pooled")

.venv/bin/python -m samg_jax.train --config=configs/awac_samg.py:hopper-demo \
  --config.num_seeds=2 \
  --config.offline.updates=0 \
  --config.online.steps=0 \
  --config.guidance.cvae.hidden_dim=128 \
  --config.guidance.cvae.steps="$steps" \
  --config.guidance.cvae.kl_warmup_start=$((steps / 10)) \
  --config.guidance.cvae.kl_warmup_steps=$((steps / 5)) \
  --workdir="$runs/weight"
.venv/bin/python -m samg_jax.diagnose --checkpoint="$runs/weight" \
  --kinds=tail,window "${settings[@]}" --out="$runs/diagnosis" "$@"
cp "$runs/diagnosis/diagnosis.md" "$results/settings.md"
cp "$runs/diagnosis/diagnosis.json" "$results/settings.json"
