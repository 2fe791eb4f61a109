# To be sourced by the studies of the guidance: reads their arguments, installs, and
# pre-trains once, C-VAE included, what all of a study's runs fork from.
#
# Arguments: [DATASET [BASE [FLAG ...]]], by default hopper-demo and awac; the flags of
# samg_jax.train go to every run. LENGTH=full takes the published networks and lengths
# instead of those of launch/reduced.sh, and RUNS is the folder of all studies.
#
# Sets: dataset, base, runs (of the dataset and base), common and guided (flags),
# and the function `fork VARIANT CONFIG [FLAG ...]`, which adds to `workdirs`.
dataset="${1:-hopper-demo}" base="${2:-awac}"
runs="${RUNS:-runs/studies}/$base/$dataset"
common=("${@:3}") guided=()
workdirs=()

bash launch/install.sh
if [ "${LENGTH:-reduced}" != full ]; then
  source launch/reduced.sh
  settings_of "$base"
  common=("${reduced[@]}" "${common[@]}")
  guided=(
    --config.guidance.cvae.hidden_dim=128
    --config.guidance.cvae.steps=3000
    --config.guidance.embedding.hidden_dim=128
    --config.guidance.embedding.steps=3000
  )
  case "$dataset" in # The annealing of the published table, as much shorter.
    hopper*)
      guided+=(
        --config.guidance.cvae.kl_warmup_start=500
        --config.guidance.cvae.kl_warmup_steps=1000
      )
      ;;
  esac
fi

.venv/bin/python -m samg_jax.train --config="configs/${base}_samg.py:$dataset" \
  "${common[@]}" "${guided[@]}" --config.online.steps=0 --workdir="$runs/offline"

fork() {
  .venv/bin/python -m samg_jax.train --config="configs/$2.py:$dataset" \
    "${common[@]}" "${@:3}" --config.offline.restore="$runs/offline" \
    --workdir="$runs/$1"
  workdirs+=("$runs/$1")
}
