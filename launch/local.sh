#!/usr/bin/env bash
# The suite local_reduced: AWAC and IQL with the published networks on hopper-demo and a
# half-cheetah dataset that is collected here, CQL and Cal-QL small and on hopper-demo only;
# 5 seeds, variants vanilla, no_data, samg and samg_even; AWAC on hopper-demo also with the
# weight's preset `best`. Then its report in runs/local/report, and in launch/results/local
# what is committed of it: the data, the configs, the tables and one figure.
#   bash launch/local.sh [FLAG ...]     flags of `samg_jax.suite`
# Interrupted, it goes on where it was; a failed job is reported and does not stop the rest.
# About an hour and a half on two idle cores, by estimate.
set -euo pipefail
cd "$(dirname "$0")/.."
bash launch/install.sh suite,report
python=.venv/bin/python
runs=runs/local
mkdir -p "$runs"

cp samg_jax/data/hopper-demo.hdf5 "$runs/hopper-demo-local.hdf5"
if [ ! -f "$runs/halfcheetah-medium-local.hdf5" ]; then
  "$python" -m samg_jax.collect --env=HalfCheetah-v4 --level=medium --steps=100000 \
    --medium_score=22 --train_steps=100000 --hidden_dims=128,128 \
    --out="$runs/halfcheetah-medium-local.hdf5"
fi

failed=0
suite() {
  "$python" -m samg_jax.suite --suite=local_reduced \
    --out="$runs/local_reduced" "$@" || failed=1
}

suite "$@"
suite --set=algorithms=awac --set=datasets=hopper-demo --set=variants=samg_best "$@"
suite --set=algorithms=cql,cal_ql --set=datasets=hopper-demo "$@"
"$python" -m samg_jax.report "$runs/local_reduced" --out="$runs/report"
kept=launch/results/local
cp "$runs/local_reduced/results.csv" "$runs"/report/{configs.json,report.md} "$kept/"
cp "$runs/report/figures/differences_normalized_score_awac_locally_collected.png" \
  "$kept/differences.png"
exit "$failed"
