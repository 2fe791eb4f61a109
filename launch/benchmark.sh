#!/usr/bin/env bash
# Measures everything that README's "Throughput" tells of, into FOLDER: launch/results/,
# where JAX uses a GPU launch/results/gpu/.
#   bash launch/benchmark.sh [FOLDER]
# Needs the package with the extra `torch`, and a machine that does nothing else. On two
# cores, which THREADS may change, many hours (not timed as a whole): evaluations of
# AntMaze, of 100 episodes per seed, take minutes each. On a GPU seeds 1, 4, 16 and 64.
# JAX_PLATFORMS, where it is set, must have cpu, too: cuda,cpu.
set -euo pipefail
cd "$(dirname "$0")/.."

python="${PYTHON:-python}"
backend="$("$python" -c 'import jax; print(jax.default_backend())')"
if [ "$backend" = cpu ]; then
  out="${1:-launch/results}"
  every=1,2,4,8
  limit=(--threads="${THREADS:-2}")
else
  out="${1:-launch/results/$backend}"
  every=1,4,16,64
  limit=()
fi

mkdir -p "$out"

measure() {  # NAME KIND FLAG...
  local name="$1" kind="$2"
  shift 2
  "$python" -m samg_jax.benchmark "$kind" --out="$out/benchmark_$name.json" "$@"
}

measure updates updates --seeds=1 --baseline=torch "${limit[@]}"
measure seeds updates --algorithms=td3_bc,awac,iql,cql --families=locomotion \
  --phases=offline --seeds="$every" --baseline=torch "${limit[@]}"
measure guidance updates --algorithms=awac,iql --families=locomotion --phases=no_data,samg \
  --seeds=8 "${limit[@]}"
measure batch updates --algorithms=awac,cql --families=locomotion --phases=offline \
  --seeds=1 --batch_sizes=64,256,1024 "${limit[@]}"
measure rows updates --algorithms=awac --families=locomotion --phases=offline \
  --seeds=1 --rows=20000,200000,2000000 "${limit[@]}"
measure online online --algorithms=awac,iql --seeds="$every" --repeats=3 "${limit[@]}"
measure utd online --algorithms=awac --families=locomotion --phases=samg --seeds=1 \
  --utd=1,4,16 --steps=500 --repeats=3 "${limit[@]}"
measure overlap online --algorithms=awac --families=locomotion --phases=samg --seeds=1 \
  --overlap=off,on --repeats=3 "${limit[@]}"
measure compile compile --repeats=3 "${limit[@]}"
measure memory memory --algorithms=awac,iql,cql --seeds="$every" "${limit[@]}"
if [ "$backend" != cpu ]; then
  for precision in tensorfloat32 bfloat16; do
    measure "$precision" updates --algorithms=awac,iql,cql --families=locomotion \
      --phases=offline --seeds="$every" --matmul_precision="$precision"
  done
fi
