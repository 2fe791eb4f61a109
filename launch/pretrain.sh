# To be sourced by the studies of the guidance: reads their arguments, installs, and
# pre-trains once, C-VAE included, what all of a study's runs fork from.
#
# Arguments: [DATASET [BASE [FLAG ...]]], by default hopper-demo and awac. The flags are
# those of samg_jax.train, as --name=value, and win over what is set here. They go to
# every run, those of config.guidance only to the guided ones. LENGTH=full takes the
# published networks and lengths instead of those of launch/reduced.sh, and RUNS is the
# folder of all studies, by default runs/studies.
#
# A file of your own takes the hyperparameters of DATASET and its own environment; a
# path is read from the root of the repository:
#   bash launch/ablation.sh hopper-demo awac \
#     --config.dataset.path=hopper.hdf5 --config.env_id=Hopper-v4
#
# Reads `studied`, the flags that the study itself sets. Sets `runs`, the folder of the
# study: $RUNS/BASE/DATASET, or the file's name without its ending instead of DATASET;
# and the functions `vanilla NAME` and `guided NAME [FLAG ...]`, each of which makes a run
# and adds it to `workdirs`.
dataset=hopper-demo base=awac
given=("$@") workdirs=()
if [ $# -gt 0 ] && [[ "$1" != -* ]]; then
  dataset="$1" given=("${@:2}")
  if [ $# -gt 1 ] && [[ "$2" != -* ]]; then
    base="$2" given=("${@:3}")
  fi
fi

refuse() {
  echo "error: $*" >&2
  exit 1
}

name="$dataset" env_id="" own=() own_guidance=()
for flag in "${given[@]}"; do
  field="${flag%%=*}"
  [[ "$field" = -* ]] || refuse "$flag is not a flag of samg_jax.train. After DATASET and" \
    "BASE stand flags, with their values, as in --config.num_seeds=2."
  field="${field#-}" field="${field#-}"
  for taken in config workdir sweep config.offline.restore "${studied[@]}"; do
    [ "$field" != "$taken" ] || refuse "--$field is what this study sets itself, for" \
      "each of its runs. Leave it out, or call samg_jax.train."
  done
  case "$field" in
    config.dataset.path) name="$(basename "${flag#*=}")" name="${name%.*}" ;;
    config.env_id) env_id="${flag#*=}" ;;
  esac
  case "$field" in
    config.guidance.* | noconfig.guidance.*) own_guidance+=("$flag") ;;
    *) own+=("$flag") ;;
  esac
done
runs="${RUNS:-runs/studies}/$base/${name//:/\/}"

bash launch/install.sh
reduced=() reduced_guidance=()
if [ "${LENGTH:-reduced}" != full ]; then
  source launch/reduced.sh
  rewards="$dataset"
  [[ "$env_id" != antmaze* ]] || rewards="$env_id" # Whatever hyperparameters it takes.
  settings_of "$base" "$rewards"
  reduced_guidance=(
    --config.guidance.cvae.hidden_dim=128
    --config.guidance.cvae.steps=3000
    --config.guidance.embedding.hidden_dim=128
    --config.guidance.embedding.steps=3000
  )
  case "${env_id:-$dataset}" in # The annealing of the published table, as much shorter.
    *hopper* | *Hopper*)
      reduced_guidance+=(
        --config.guidance.cvae.kl_warmup_start=500
        --config.guidance.cvae.kl_warmup_steps=1000
      )
      ;;
  esac
fi

train() {
  local config="$1"
  shift
  .venv/bin/python -m samg_jax.train --config="configs/$config.py:$dataset" \
    "${reduced[@]}" "$@"
}

vanilla() {
  train "$base" "${own[@]}" --config.offline.restore="$runs/offline" --workdir="$runs/$1"
  workdirs+=("$runs/$1")
}

guided() {
  train "${base}_samg" "${reduced_guidance[@]}" "${own[@]}" "${own_guidance[@]}" \
    "${@:2}" --config.offline.restore="$runs/offline" --workdir="$runs/$1"
  workdirs+=("$runs/$1")
}

train "${base}_samg" "${reduced_guidance[@]}" "${own[@]}" "${own_guidance[@]}" \
  --config.online.steps=0 --workdir="$runs/offline"
